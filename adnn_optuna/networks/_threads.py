"""The threads that train, which all trainers of a process share."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

# They are kept from one trial to the next one, with variables of their own.
_SECONDS_IDLE = 60.0


class TrainingThreads:
    """Threads that end when nobody has used them for a minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._n_users = 0
        self._last_use = 0.0

    def begin_use(self, n: int) -> ThreadPoolExecutor:
        """Return the threads, ``n`` if they are started now, until :meth:`end_use` is called."""
        with self._lock:
            self._n_users += 1
            if self._pool is None:
                self._pool = ThreadPoolExecutor(n, thread_name_prefix="training")
                threading.Thread(target=self._end, name="training_end", daemon=True).start()
            return self._pool

    def end_use(self) -> None:
        """Give the threads back."""
        with self._lock:
            self._n_users -= 1
            self._last_use = time.monotonic()

    def _end(self) -> None:
        """Wait until nobody has used the threads for a minute, then end them."""
        ended, seconds = None, _SECONDS_IDLE
        while ended is None:
            time.sleep(seconds)
            with self._lock:
                idle_since = time.monotonic() if self._n_users else self._last_use
                seconds = idle_since + _SECONDS_IDLE - time.monotonic()
                if seconds <= 0:
                    ended, self._pool = self._pool, None
        ended.shutdown()


THREADS = TrainingThreads()
