//go:build cgo && (linux || darwin)

package runtime

import (
	"time"
	"unsafe"
)

/*
#include <stdint.h>
#include <time.h>

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

// await_change looks at *n until it is not seen any more or the time is over.
static void await_change(const uint32_t *n, uint32_t seen, int64_t ns) {
  struct timespec t;
  int64_t end = 0;
  for (;;) {
    for (int i = 0; i < 64; i++) {
      if (__atomic_load_n(n, __ATOMIC_ACQUIRE) != seen) return;
      relax();
    }
    clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t now = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    if (end == 0) end = now + ns;
    if (now >= end) return;
  }
}
*/
import "C"

// Await waits until the signal is raised again, for most at most. It keeps the
// thread's core busy: a thread that sleeps wakes up tens of microseconds late. It does
// so outside of Go, because a goroutine that loops for long has the scheduler
// interrupt it all the time, at the cost of what runs on the other cores (up to a
// tenth of a convolution's time was seen).
func (s *Signal) Await(seen uint32, most time.Duration) {
	C.await_change((*C.uint32_t)(unsafe.Pointer(&s.n)), C.uint32_t(seen), C.int64_t(most))
}
