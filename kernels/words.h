// Matrix products over words: a float, or two bfloat16 that follow each other along the axis that is summed over, and
// which the processor multiplies and adds as one.
#pragma once

#include "vector.h"

namespace r1 {

typedef uint32_t Word __attribute__((aligned(2), may_alias));
template <class T> constexpr int64_t PER_WORD = sizeof(Word) / sizeof(T);
template <class T> constexpr int64_t words(int64_t count) { return (count + PER_WORD<T> - 1) / PER_WORD<T>; }

constexpr int HIGH = LANES == 16 ? 8 : LANES == 8 ? 6 : 4;  // rows of a tile: as many as leave registers for sums
constexpr int64_t DEEP = 128;  // words of a panel that stay in the first cache while all rows pass

inline int64_t round_up(int64_t count, int64_t to) { return (count + to - 1) / to * to; }

inline Vec add_product(float, Word a, const Words &b, const Vec &sum) {
  float x;
  std::memcpy(&x, &a, sizeof x);
  return sum + x * (Vec)b;
}
#if defined(__AVX512BF16__)
inline Vec add_product(bf16, Word a, const Words &b, const Vec &sum) {
  return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(int(a)), (__m512bh)b);
}
#endif

// c [R, CHUNK] (+)= a [R, K] panel [K, CHUNK]; word (r, k) of a is a[r * row + k * step].
template <class T, int R>
inline void word_tile(const Word *a, int64_t row, int64_t step, const Word *panel, float *c, int64_t K, bool add) {
  Vec sum[R][2] = {};
  if (add)
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
      for (int half = 0; half < 2; ++half) sum[r][half] = *(const Vec *)(c + r * CHUNK + half * LANES);
  for (int64_t k = 0; k < K; ++k) {
    const Words b0 = *(const Words *)(panel + k * CHUNK), b1 = *(const Words *)(panel + k * CHUNK + LANES);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Word x = a[r * row + k * step];
      sum[r][0] = add_product(T(), x, b0, sum[r][0]);
      sum[r][1] = add_product(T(), x, b1, sum[r][1]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
    for (int half = 0; half < 2; ++half) *(Vec *)(c + r * CHUNK + half * LANES) = sum[r][half];
}

// c [M, CHUNK] = a [M, K] panel [K, CHUNK], in words. Tiles of `a` are `tile` words apart.
template <class T>
void word_product(const Word *a, int64_t row, int64_t step, int64_t tile, const Word *panel, float *c, int64_t M,
                  int64_t K) {
  if (K == 0) std::fill_n(c, M * CHUNK, 0.0f);
  for (int64_t k = 0; k < K; k += DEEP) {
    const int64_t depth = std::min(DEEP, K - k);
    for (int64_t m = 0; m < M; m += HIGH) {
      const Word *from = a + m / HIGH * tile + k * step;
      switch (std::min<int64_t>(HIGH, M - m)) {
#define ROWS_LEFT(R) \
  case R: word_tile<T, R>(from, row, step, panel + k * CHUNK, c + m * CHUNK, depth, k > 0); break;
        ROWS_LEFT(1) ROWS_LEFT(2) ROWS_LEFT(3) ROWS_LEFT(4) ROWS_LEFT(5) ROWS_LEFT(6) ROWS_LEFT(7) ROWS_LEFT(8)
#undef ROWS_LEFT
      }
    }
  }
}

// Two rows' numbers at the same places as words.
inline void join(const bf16 *x, const bf16 *next, int64_t count, Word *out) {
#if defined(__AVX512BW__)
  const __m512i low = _mm512_maskz_loadu_epi16(leading(count), x);
  const __m512i high = next ? _mm512_maskz_loadu_epi16(leading(count), next) : __m512i{};
  const Words places = {0x200000, 0x210001, 0x220002, 0x230003, 0x240004, 0x250005, 0x260006, 0x270007,
                        0x280008, 0x290009, 0x2a000a, 0x2b000b, 0x2c000c, 0x2d000d, 0x2e000e, 0x2f000f};
  _mm512_storeu_si512(out, _mm512_permutex2var_epi16(low, (__m512i)places, high));
  _mm512_storeu_si512(out + LANES, _mm512_permutex2var_epi16(low, (__m512i)(places + 0x100010u), high));
#else
  for (int64_t i = 0; i < CHUNK; ++i)
    out[i] = i < count ? x[i].bits | (next ? uint32_t(next[i].bits) << 16 : 0) : 0;
#endif
}

// Rows [K, N], summed over, as panels [⌈N / WIDTH⌉][words of K][WIDTH]; row(k) is where a row begins.
template <class T, int WIDTH, class Row> void pack_rows(const Row &row, int64_t K, int64_t N, Word *panels) {
  const int64_t deep = words<T>(K);
  if constexpr (PER_WORD<T> == 1) {
    for (int64_t k = 0; k < K; ++k) {
      const T *from = row(k);
      int64_t n = 0;
      for (; n + WIDTH <= N; n += WIDTH)
        std::memcpy(panels + (n / WIDTH * deep + k) * WIDTH, from + n, WIDTH * sizeof(Word));
      if (n == N) continue;
      Word *last = panels + (n / WIDTH * deep + k) * WIDTH;
      std::memcpy(last, from + n, (N - n) * sizeof(Word));
      std::fill(last + (N - n), last + WIDTH, 0);
    }
  } else {
    static_assert(CHUNK % WIDTH == 0);
    alignas(64) Word some[CHUNK];
    for (int64_t k = 0; k < deep; ++k) {
      const int64_t next = k * PER_WORD<T> + PER_WORD<T> - 1;
      const T *one = row(k * PER_WORD<T>), *two = next < K ? row(next) : nullptr;
      for (int64_t n = 0; n < N; n += CHUNK) {
        join(one + n, two ? two + n : nullptr, std::min<int64_t>(CHUNK, N - n), some);
        for (int64_t i = 0; i < CHUNK && n + i < N; i += WIDTH)
          std::memcpy(panels + ((n + i) / WIDTH * deep + k) * WIDTH, some + i, WIDTH * sizeof(Word));
      }
    }
  }
}

#if defined(__AVX512BW__)
inline void transpose(__m512i (&x)[16]) {
  __m512i y[16];
  for (int i = 0; i < 16; i += 2) {
    y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
    y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int j = 0; j < 2; ++j) {
      x[i + 2 * j] = _mm512_unpacklo_epi64(y[i + j], y[i + j + 2]);
      x[i + 2 * j + 1] = _mm512_unpackhi_epi64(y[i + j], y[i + j + 2]);
    }
  for (int j = 0; j < 4; ++j) {  // x[4 i + j] has columns j, j + 4, j + 8, j + 12 of rows 4 i … 4 i + 3
    const __m512i a = _mm512_shuffle_i32x4(x[j], x[4 + j], 0x88), b = _mm512_shuffle_i32x4(x[8 + j], x[12 + j], 0x88);
    const __m512i c = _mm512_shuffle_i32x4(x[j], x[4 + j], 0xdd), d = _mm512_shuffle_i32x4(x[8 + j], x[12 + j], 0xdd);
    y[j] = _mm512_shuffle_i32x4(a, b, 0x88);
    y[8 + j] = _mm512_shuffle_i32x4(a, b, 0xdd);
    y[4 + j] = _mm512_shuffle_i32x4(c, d, 0x88);
    y[12 + j] = _mm512_shuffle_i32x4(c, d, 0xdd);
  }
  std::copy_n(y, 16, x);
}
#elif defined(__AVX__) && !defined(__AVX512F__)
inline void transpose(__m256 (&x)[8]) {
  __m256 y[8];
  for (int i = 0; i < 8; i += 2) {
    y[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
    y[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
  }
  for (int i = 0; i < 8; i += 4)
    for (int j = 0; j < 2; ++j) {
      x[i + 2 * j] = _mm256_shuffle_ps(y[i + j], y[i + j + 2], 0x44);
      x[i + 2 * j + 1] = _mm256_shuffle_ps(y[i + j], y[i + j + 2], 0xee);
    }
  for (int j = 0; j < 4; ++j) {  // x[4 i + j] has columns j and j + 4 of rows 4 i … 4 i + 3
    y[j] = _mm256_permute2f128_ps(x[j], x[4 + j], 0x20);
    y[4 + j] = _mm256_permute2f128_ps(x[j], x[4 + j], 0x31);
  }
  std::copy_n(y, 8, x);
}
#endif

// A matrix [N, K], summed over its rows' numbers, as panels [⌈N / CHUNK⌉][words of K][CHUNK].
template <class T> void pack_turned(const T *b, int64_t N, int64_t K, Word *panels) {
  const int64_t deep = words<T>(K);
  for (int64_t n = 0; n < round_up(N, CHUNK); n += LANES) {
    Word *to = panels + n / CHUNK * deep * CHUNK + n % CHUNK;
    for (int64_t k = 0; k < deep; k += LANES) {
      const int64_t width = std::min<int64_t>(LANES, deep - k), from = k * PER_WORD<T>;
#if defined(__AVX512BW__)
      __m512i rows[16];
      for (int i = 0; i < 16; ++i) {
        const int64_t count = n + i < N ? std::min(K - from, LANES * PER_WORD<T>) * (2 / PER_WORD<T>) : 0;  // halves
        rows[i] = _mm512_maskz_loadu_epi16(leading(count), b + (n + i < N ? (n + i) * K + from : 0));
      }
      transpose(rows);
      for (int i = 0; i < width; ++i) _mm512_storeu_si512(to + (k + i) * CHUNK, rows[i]);
#else
#if defined(__AVX__) && !defined(__AVX512F__)
      if (PER_WORD<T> == 1 && n + LANES <= N && width == LANES) {
        __m256 rows[8];
        for (int i = 0; i < 8; ++i) rows[i] = _mm256_loadu_ps((const float *)(b + (n + i) * K + from));
        transpose(rows);
        for (int i = 0; i < 8; ++i) _mm256_storeu_ps((float *)(to + (k + i) * CHUNK), rows[i]);
        continue;
      }
#endif
      for (int64_t i = 0; i < LANES; ++i)
        for (int64_t j = 0; j < width; ++j) {
          Word word = 0;
          if (n + i < N)
            std::memcpy(&word, b + (n + i) * K + from + j * PER_WORD<T>,
                        std::min(PER_WORD<T>, K - from - j * PER_WORD<T>) * sizeof(T));
          to[(k + j) * CHUNK + i] = word;
        }
#endif
    }
  }
}

// `count` numbers of a row, rounded to nearest.
template <class T> inline void put(const float *x, int64_t count, T *out) {
  for (int64_t i = 0; i < count; ++i) out[i] = narrow<T>(x[i]);
}

}  // namespace r1
