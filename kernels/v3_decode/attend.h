// One row's attention among its latents: a few heads over narrow keys, where summing up each score costs as much as its
// products. A register holds four numbers of several heads, and meets four numbers of a key repeated for each: the sums
// of four keys then come out of three pairwise additions.
#pragma once

#if defined(__AVX__)
#include <immintrin.h>
#endif

#include "../parallel.h"

namespace r1 {

constexpr int QUAD = 4;
constexpr int HEADS = LANES / QUAD;  // of a register
constexpr int LINE = 16;  // floats of a cache line
constexpr float LOWEST = -3e38f;

// What memory is asked for while something else is at work: the keys of the row that comes next. Each part of the work
// asks for its share, as only so many answers can be under way at once.
struct Ahead {
  const float *from;
  int64_t count;  // of floats
  int64_t at = 0;

  void ask(int64_t lines) {
    for (const int64_t end = std::min(count, at + lines * LINE); at < end; at += LINE)
      __builtin_prefetch(from + at, 0, 2);  // into the second cache: the first one holds the keys that are at work
  }
};

struct Scratch {
  std::vector<float> query, scores, spare;

  void resize(int H, int W, int64_t capacity) {
    query.assign((W + QUAD - 1) / QUAD * LANES, 0.0f);
    spare.resize(QUAD * W);
    scores.resize((capacity + QUAD - 1) / QUAD * LANES);
  }
};

// Four floats, repeated for every head of the register. (Compilers take a shuffle of four lanes through memory.)
inline Vec repeat(const float *x) {
#if defined(__AVX512F__)
  return _mm512_broadcast_f32x4(_mm_loadu_ps(x));
#elif defined(__AVX__)
  return _mm256_broadcast_ps(reinterpret_cast<const __m128 *>(x));
#else
  return *reinterpret_cast<const Vec *>(x);
#endif
}

// Sums of neighbours: of every head, two of a, then two of b.
inline Vec pairs(const Vec &a, const Vec &b) {
#if defined(__AVX512F__)
  return __builtin_shufflevector(a, b, 0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30) +
         __builtin_shufflevector(a, b, 1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31);
#elif defined(__AVX__)
  return __builtin_shufflevector(a, b, 0, 2, 8, 10, 4, 6, 12, 14) +
         __builtin_shufflevector(a, b, 1, 3, 9, 11, 5, 7, 13, 15);
#else
  return __builtin_shufflevector(a, b, 0, 2, 4, 6) + __builtin_shufflevector(a, b, 1, 3, 5, 7);
#endif
}

// The scores [heads][4 keys] of N times four keys, `rows` floats apart.
template <int N> inline void score(const float *query, const float *keys, int64_t W, float *scores) {
  const int64_t whole = W / QUAD, rest = W % QUAD;
  Vec sum[N * QUAD] = {};
  for (int64_t i = 0; i < whole; ++i) {
    const Vec q = *reinterpret_cast<const Vec *>(query + i * LANES);
    const float *key = keys + i * QUAD;
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n, key += QUAD * W) {
      sum[4 * n] += q * repeat(key);
      sum[4 * n + 1] += q * repeat(key + W);
      sum[4 * n + 2] += q * repeat(key + 2 * W);
      sum[4 * n + 3] += q * repeat(key + 3 * W);
    }
  }
  if (rest) {
    const Vec q = *reinterpret_cast<const Vec *>(query + whole * LANES);
#pragma GCC unroll 8
    for (int k = 0; k < N * QUAD; ++k) {
      float last[QUAD] = {};
      std::memcpy(last, keys + k * W + whole * QUAD, rest * sizeof(float));
      sum[k] += q * repeat(last);
    }
  }
#pragma GCC unroll 2
  for (int n = 0; n < N; ++n)
    *reinterpret_cast<Vec *>(scores + n * LANES) =
        pairs(pairs(sum[4 * n], sum[4 * n + 1]), pairs(sum[4 * n + 2], sum[4 * n + 3]));
}

// scores [⌈T / 4⌉][heads][4 keys] of a register's heads; returns each head's highest. `spare` takes the last few keys.
inline void score_all(const float *query, const float *keys, int W, int64_t T, float *scores, float *highest,
                      float *spare, Ahead &ahead) {
  int64_t t = 0;
  for (; t + 2 * QUAD <= T; t += 2 * QUAD) {
    ahead.ask(2 * QUAD);
    score<2>(query, keys + t * W, W, scores + t / QUAD * LANES);
  }
  for (; t < T; t += QUAD) {
    const int64_t count = std::min<int64_t>(QUAD, T - t);
    for (int64_t k = 0; k < QUAD; ++k)
      std::memcpy(spare + k * W, keys + (t + std::min(k, count - 1)) * W, W * sizeof(float));
    score<1>(query, spare, W, scores + t / QUAD * LANES);
  }
  const int64_t blocks = (T + QUAD - 1) / QUAD;
  for (int i = 0; i < LANES; ++i)
    if (i % QUAD > (T - 1) % QUAD) scores[(blocks - 1) * LANES + i] = LOWEST;
  Vec most = *reinterpret_cast<const Vec *>(scores);
  for (int64_t b = 1; b < blocks; ++b) {
    const Vec next = *reinterpret_cast<const Vec *>(scores + b * LANES);
    most = next > most ? next : most;
  }
  for (int h = 0; h < HEADS; ++h) {
    highest[h] = most[h * QUAD];
    for (int k = 1; k < QUAD; ++k) highest[h] = std::max(highest[h], most[h * QUAD + k]);
  }
}

// Turns scores into exp(score - highest); writes each head's sum.
inline void soften(float *scores, int64_t T, const float *highest, float *sums) {
  const int64_t blocks = (T + QUAD - 1) / QUAD;
  Vec offset, total = {};
  for (int i = 0; i < LANES; ++i) offset[i] = highest[i / QUAD];
  for (int64_t b = 0; b < blocks; ++b) *reinterpret_cast<Vec *>(scores + b * LANES) -= offset;
  // A loop by itself, which compilers turn into calls for whole registers.
  for (int64_t i = 0; i < blocks * LANES; ++i) scores[i] = std::exp(std::max(scores[i], -104.0f));
  for (int64_t b = 0; b < blocks; ++b) total += *reinterpret_cast<Vec *>(scores + b * LANES);
  for (int h = 0; h < HEADS; ++h) {
    sums[h] = 0;
    for (int k = 0; k < QUAD; ++k) sums[h] += total[h * QUAD + k];
  }
}

// out [count][N registers]: every head's mean of the values [T, W], weighed by its scores.
template <int N>
inline void mean(const float *scores, const float *values, int C, int W, int64_t T, const float *sums, int count,
                 float *out, Ahead &ahead) {
  Vec sum[HEADS][N] = {};
  for (int64_t t = 0; t < T; ++t) {
    const float *share = scores + t / QUAD * LANES + t % QUAD;
    ahead.ask(1);
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      const Vec value = *reinterpret_cast<const Vec *>(values + t * W + n * LANES);
#pragma GCC unroll 4
      for (int h = 0; h < HEADS; ++h) sum[h][n] += share[h * QUAD] * value;
    }
  }
#pragma GCC unroll 4
  for (int h = 0; h < HEADS; ++h)
    if (h < count)
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) *reinterpret_cast<Vec *>(out + h * C + n * LANES) = sum[h][n] / sums[h];
}

inline void mean_all(const float *scores, const float *values, int C, int W, int64_t T, const float *sums, int count,
                     float *out, Ahead &ahead) {
  int c = 0;
  for (; c + 4 * LANES <= C; c += 4 * LANES) mean<4>(scores, values + c, C, W, T, sums, count, out + c, ahead);
  for (; c + 2 * LANES <= C; c += 2 * LANES) mean<2>(scores, values + c, C, W, T, sums, count, out + c, ahead);
  for (; c + LANES <= C; c += LANES) mean<1>(scores, values + c, C, W, T, sums, count, out + c, ahead);
  for (; c < C; ++c)
    for (int h = 0; h < count; ++h) {
      float sum = 0;
      for (int64_t t = 0; t < T; ++t) sum += scores[t / QUAD * LANES + h * QUAD + t % QUAD] * values[t * W + c];
      out[h * C + c] = sum / sums[h];
    }
}

// out [H, C] of queries [H, W] over the first T of `cached` [·, W].
inline void attend(const float *queries, const float *cached, int H, int C, int W, int64_t T, float *out, Scratch &s,
                   Ahead ahead) {
  float highest[HEADS], sums[HEADS];
  for (int first = 0; first < H; first += HEADS) {
    const int count = std::min(HEADS, H - first);
    for (int h = 0; h < count; ++h) {
      const float *from = queries + (first + h) * W;
      float *to = &s.query[h * QUAD];
      int i = 0;
      for (; i + QUAD <= W; i += QUAD, to += LANES) std::memcpy(to, from + i, QUAD * sizeof(float));
      if (i < W) std::memcpy(to, from + i, (W - i) * sizeof(float));
    }
    score_all(s.query.data(), cached, W, T, s.scores.data(), highest, s.spare.data(), ahead);
    soften(s.scores.data(), T, highest, sums);
    mean_all(s.scores.data(), cached, C, W, T, sums, count, out + first * C, ahead);
  }
}

}  // namespace r1
