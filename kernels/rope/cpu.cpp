// Rotary positions: neighbouring pairs times complex numbers. Specification: kernels/rope/ref.py.

#include "../parallel.h"

using namespace r1;

namespace {

constexpr int64_t LEAST = 1 << 15;  // numbers that pay for a thread
constexpr int64_t CHUNK = 64;       // even, so that it cuts no pair

// turns [count, width]: cosine and sine by turns. Row r has turns r / repeat % count.
// By way of floats side by side: compilers make vector code of conversions one after the other, but not of every second.
template <class T>
void rotate(const T *x, const float *turns, T *out, int64_t rows, int64_t width, int64_t stride, int64_t repeat,
            int64_t count, int64_t threads) {
  parallel(rows, threads, LEAST / width + 1, [=](int64_t begin, int64_t end, int64_t) {
    float wide[CHUNK], turned[CHUNK];
    for (int64_t r = begin; r < end; ++r)
      for (int64_t start = 0; start < width; start += CHUNK) {
        const T *in = x + r * stride + start;
        const float *turn = turns + r / repeat % count * width + start;
        T *o = out + r * width + start;
        const int64_t now = std::min(width - start, CHUNK);
        for (int64_t i = 0; i < now; ++i) wide[i] = widen(in[i]);
        for (int64_t i = 0; i < now; i += 2) {
          turned[i] = wide[i] * turn[i] - wide[i + 1] * turn[i + 1];
          turned[i + 1] = wide[i + 1] * turn[i] + wide[i] * turn[i + 1];
        }
        for (int64_t i = 0; i < now; ++i) o[i] = narrow<T>(turned[i]);
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
