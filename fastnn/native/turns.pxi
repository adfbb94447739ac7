# A turn of `fastnn.runtime.turns`. Part of engine.pyx, which includes it.
#
# It is compiled, because Ctrl-C cannot interrupt a compiled method halfway: a use that is on a list
# is taken off again, however it ends. And it is quick, since a step may take microseconds.
#
# A list is read and changed as a whole: nothing here returns to the interpreter meanwhile, and
# where there is no GIL, a critical section holds the list's own lock. Two uses that begin at once
# take the locks of both lists in some order, so at least one of them sees the other.


cdef int take_off(list uses, object use) except -1:
    """Take a use off a list; the last one is found at once."""
    cdef Py_ssize_t i
    with cython.critical_section(uses):
        for i in range(len(uses) - 1, -1, -1):
            if uses[i] is use:
                del uses[i]
                break
    return 0


cdef Py_ssize_t number_on(list uses) except -1:
    """Return how many uses are on a list."""
    cdef Py_ssize_t number
    with cython.critical_section(uses):
        number = len(uses)
    return number


cdef class Turn:
    """A change or a look of one thread: a context.

    Parameters
    ----------
    turns : fastnn.runtime.turns.Turns
    uses : list
        `turns.changes` or `turns.looks`.
    is_free : callable
        Whether this turn may begin, given the others that are noted; may raise.
    what : str
    is_active : bool, default True
    writes : {"nothing", "learned", "all"}, default "learned"

    Attributes
    ----------
    what, thread, bell, number, is_active, writes
        As of a `Use`.
    """
    cdef object turns, is_free
    cdef list uses, waiting, changes, looks, relatives
    cdef readonly unsigned long thread
    cdef readonly str what, writes
    cdef readonly bint is_active
    cdef public object bell
    cdef public int64_t number

    def __cinit__(self, turns, list uses not None, is_free, str what not None,
                  bint is_active=True, str writes not None="learned"):
        self.turns, self.uses, self.is_free, self.what = turns, uses, is_free, what
        self.changes, self.looks, self.waiting = turns.changes, turns.looks, turns.waiting
        self.relatives = turns.relatives
        self.is_active, self.writes = is_active, writes

    cdef bint _is_alone(self) except -1:
        """Whether no other thread is on the lists, so that nobody has to be asked."""
        cdef bint is_alone
        if self.relatives:
            return False
        with cython.critical_section(self.changes):
            is_alone = True
            for use in self.changes:
                if not (type(use) is Turn and (<Turn>use).thread == self.thread):
                    is_alone = False
                    break
        if is_alone:
            with cython.critical_section(self.looks):
                is_alone = not self.looks or len(self.looks) == 1 and self.looks[0] is self
        return is_alone

    cdef int follow(self) except -1:
        """Begin while another change of this thread keeps all others away."""
        self.thread, self.number = PyThread_get_thread_ident(), 0
        self.uses.append(self)
        return 0

    def __enter__(self):
        self.thread, self.number = PyThread_get_thread_ident(), 0
        try:
            if self.turns.forks != fastnn_forks:
                self.turns.leave_parent()
            if not (self.waiting or self.relatives) or self.turns.is_next(self):
                self.uses.append(self)
                if self._is_alone() or self.is_free(self):
                    return
                take_off(self.uses, self)
            self.turns.wait(self, self.uses, self.is_free)
            take_off(self.waiting, self)
            self.turns.wake()
        except BaseException:  # an error, or Ctrl-C anywhere
            take_off(self.waiting, self)
            take_off(self.uses, self)
            raise

    def __exit__(self, *raised):
        take_off(self.uses, self)
        if self.waiting or self.relatives:
            self.turns.wake()
