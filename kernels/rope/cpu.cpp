// Rotary positions: neighbouring pairs times complex numbers. Specification: kernels/rope/ref.py.

#include "../parallel.h"

using namespace r1;

namespace {

constexpr int64_t LEAST = 1 << 15;  // numbers that pay for a thread

// turns [count, width]: cosine and sine by turns. Row r has turns r / repeat % count.
template <class T>
void rotate(const T *x, const float *turns, T *out, int64_t rows, int64_t width, int64_t stride, int64_t repeat,
            int64_t count, int64_t threads) {
  parallel(rows, threads, LEAST / width + 1, [=](int64_t begin, int64_t end, int64_t) {
    for (int64_t r = begin; r < end; ++r) {
      const T *in = x + r * stride;
      const float *turn = turns + r / repeat % count * width;
      T *o = out + r * width;
      for (int64_t i = 0; i < width; i += 2) {
        const float even = widen(in[i]), odd = widen(in[i + 1]), cosine = turn[i], sine = turn[i + 1];
        o[i] = narrow<T>(even * cosine - odd * sine);
        o[i + 1] = narrow<T>(odd * cosine + even * sine);
      }
    }
  });
}

}  // namespace

#define EXPORT(T, NAME)                                                                                            \
  extern "C" void rope_##NAME(const T *x, const float *turns, T *out, int64_t rows, int64_t width, int64_t stride, \
                              int64_t repeat, int64_t count, int64_t threads) {                                    \
    rotate(x, turns, out, rows, width, stride, repeat, count, threads);                                            \
  }
EXPORT(float, f32)
EXPORT(bf16, bf16)
