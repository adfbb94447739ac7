"""Files: models (`model_file`) and tables (`table`)."""
