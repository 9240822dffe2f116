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
constexpr int AHEAD = 32;  // keys that memory is asked for before they are met
constexpr int LINE = 16;   // floats of a cache line
constexpr float LOWEST = -3e38f;

struct Scratch {
  std::vector<float> query, scores;

  void resize(int H, int W, int64_t capacity) {
    query.assign((W + QUAD - 1) / QUAD * LANES, 0.0f);
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

// scores [⌈T / 4⌉][heads][4 keys] of a register's heads; returns each head's highest.
inline void score(const float *query, const float *keys, int W, int64_t T, float *scores, float *highest) {
  const int whole = W / QUAD, rest = W % QUAD;
  Vec most;
  for (int i = 0; i < LANES; ++i) most[i] = LOWEST;
  for (int64_t t = 0; t < T; t += QUAD) {
    const int count = int(std::min<int64_t>(QUAD, T - t));
    for (int line = 0; line < QUAD * W; line += LINE) __builtin_prefetch(keys + (t + AHEAD) * W + line);
    const float *key[QUAD];
    for (int k = 0; k < QUAD; ++k) key[k] = keys + (t + std::min(k, count - 1)) * W;
    Vec sum[QUAD] = {};
    for (int i = 0; i < whole; ++i) {
      const Vec q = *reinterpret_cast<const Vec *>(query + i * LANES);
      for (int k = 0; k < QUAD; ++k) sum[k] += q * repeat(key[k] + i * QUAD);
    }
    if (rest) {
      const Vec q = *reinterpret_cast<const Vec *>(query + whole * LANES);
      for (int k = 0; k < QUAD; ++k) {
        float last[QUAD] = {};
        std::memcpy(last, key[k] + whole * QUAD, rest * sizeof(float));
        sum[k] += q * repeat(last);
      }
    }
    Vec found = pairs(pairs(sum[0], sum[1]), pairs(sum[2], sum[3]));
    if (count < QUAD)
      for (int i = 0; i < LANES; ++i)
        if (i % QUAD >= count) found[i] = LOWEST;
    *reinterpret_cast<Vec *>(scores + t / QUAD * LANES) = found;
    most = found > most ? found : most;
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

// out [count][C]: every head's mean of the values [T, W], weighed by its scores.
inline void mean(const float *scores, const float *values, int C, int W, int64_t T, const float *sums, int count,
                 float *out) {
  int c = 0;
  for (; c + LANES <= C; c += LANES) {
    Vec sum[HEADS] = {};
    for (int64_t t = 0; t < T; ++t) {
      const Vec value = *reinterpret_cast<const Vec *>(values + t * W + c);
      const float *share = scores + t / QUAD * LANES + t % QUAD;
      for (int h = 0; h < HEADS; ++h) sum[h] += share[h * QUAD] * value;
    }
    for (int h = 0; h < count; ++h) *reinterpret_cast<Vec *>(out + h * C + c) = sum[h] / sums[h];
  }
  for (; c < C; ++c)
    for (int h = 0; h < count; ++h) {
      float sum = 0;
      for (int64_t t = 0; t < T; ++t) sum += scores[t / QUAD * LANES + h * QUAD + t % QUAD] * values[t * W + c];
      out[h * C + c] = sum / sums[h];
    }
}

// out [H, C] of queries [H, W] over the first T of `cached` [·, W].
inline void attend(const float *queries, const float *cached, int H, int C, int W, int64_t T, float *out, Scratch &s) {
  float highest[HEADS], sums[HEADS];
  for (int first = 0; first < H; first += HEADS) {
    const int count = std::min(HEADS, H - first);
    for (int h = 0; h < count; ++h)
      for (int i = 0; i < W; ++i) s.query[i / QUAD * LANES + h * QUAD + i % QUAD] = queries[(first + h) * W + i];
    score(s.query.data(), cached, W, T, s.scores.data(), highest);
    soften(s.scores.data(), T, highest, sums);
    mean(s.scores.data(), cached, C, W, T, sums, count, out + first * C);
  }
}

}  // namespace r1
