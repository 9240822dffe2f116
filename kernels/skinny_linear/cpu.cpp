// x [R, I] times weights [O, I], for few rows. Specification: kernels/skinny_linear/ref.py.
//
// Such a product takes as long as reading its weights. So each is read once, in order and ahead of its use, and
// multiplied with all rows. A sum's order is the same whatever other rows, outputs and threads there are.

#include "../vector.h"

using namespace r1;

namespace {

constexpr int64_t LEAST = 1 << 17;  // products that pay for a thread

// Rows G at a time: each group's numbers chunk by chunk, the rows of a chunk beside each other, zeros for missing rows.
template <int G, class T>
std::vector<Factor<T>> arrange(const T *x, int64_t rows, int64_t I) {
  const int64_t chunks = (I + CHUNK - 1) / CHUNK;
  std::vector<Factor<T>> out((rows + G - 1) / G * G * chunks, Factor<T>{});
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < chunks; ++c)
      out[(r / G * chunks + c) * G + r % G] = factor(x + r * I + c * CHUNK, I - c * CHUNK);
  return out;
}

// sums [N, G] of N rows of weights with G rows of x. Asks for what lies `ahead`, as it comes from far.
template <int G, class T>
void dot(const Factor<T> *x, const T *const *weights, int64_t I, int64_t ahead, float *sums) {
  constexpr int N = TILE / G;
  Vec sum[TILE] = {};
  const auto add = [&](int64_t i, int64_t count) {
    Factor<T> w[N];
    for (int n = 0; n < N; ++n) w[n] = factor(weights[n] + i, count);
#pragma GCC unroll 8
    for (int g = 0; g < G; ++g)
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) add_product(x[g], w[n], sum[n * G + g]);
    x += G;
  };
  int64_t i = 0;
  for (; i + CHUNK <= I; i += CHUNK) {
    for (int n = 0; n < N; ++n) __builtin_prefetch(weights[n] + i + ahead);
    add(i, CHUNK);
  }
  if (i < I) add(i, I - i);
  totals(sum, sums);
}

// Weights of one batch lie `step` apart from row to row, `stride` from batch to batch.
template <int G, class T>
void linear(const T *x, const T *weight, const T *bias, T *out, int64_t batches, int64_t rows, int64_t O, int64_t I,
            int64_t stride, int64_t step, int64_t threads) {
  constexpr int64_t N = TILE / G;
  const int64_t groups = (rows + G - 1) / G, tiles = (O + N - 1) / N, chunks = (I + CHUNK - 1) / CHUNK;
  std::vector<std::vector<Factor<T>>> factors(batches);
  for (int64_t b = 0; b < batches; ++b) factors[b] = arrange<G>(x + b * rows * I, rows, I);
  parallel(batches * tiles, threads, LEAST / (N * rows * I + 1) + 1, [&](int64_t first, int64_t last, int64_t) {
    for (int64_t tile = first; tile < last; ++tile) {
      const int64_t b = tile / tiles, o = tile % tiles * N, count = std::min(N, O - o);
      const T *from[N];
      for (int64_t n = 0; n < N; ++n) from[n] = weight + b * stride + (o + std::min(n, count - 1)) * step;
      for (int64_t g = 0; g < groups; ++g) {
        float sums[TILE];
        dot<G, T>(factors[b].data() + g * chunks * G, from, I, g ? 0 : N * step, sums);
        for (int64_t r = g * G; r < std::min(rows, g * G + G); ++r)
          for (int64_t n = 0; n < count; ++n)
            out[(b * rows + r) * O + o + n] = narrow<T>(sums[n * G + r % G] + (bias ? widen(bias[o + n]) : 0.0f));
      }
    }
  });
}

}  // namespace

// x [batches, rows, I] and out [batches, rows, O] are contiguous; bias is [O], or null.
#define EXPORT(T, NAME)                                                                                               \
  extern "C" void skinny_linear_##NAME(const T *x, const T *weight, const T *bias, T *out, int64_t batches,          \
                                       int64_t rows, int64_t O, int64_t I, int64_t stride, int64_t step,             \
                                       int64_t threads) {                                                             \
    (rows == 1   ? linear<1, T>                                                                                       \
     : rows == 2 ? linear<2, T>                                                                                       \
                 : linear<4, T>)(x, weight, bias, out, batches, rows, O, I, stride, step, threads);                   \
  }
EXPORT(float, f32)
EXPORT(bf16, bf16)
