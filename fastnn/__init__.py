"""fastnn: train and run small and mid-size neural networks on CPUs."""
from fastnn.config import set_num_threads, get_num_threads, show_config
