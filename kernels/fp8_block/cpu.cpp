// e4m3 weights [O, I] with a factor for every block of 128 × 128. Specification: kernels/fp8_block/ref.py.
// Everything but the sums of `linear` is exact to the bit, under -ffast-math too.

#include <cmath>
#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__AVX__)
#include <immintrin.h>
#endif

#include "../parallel.h"

using namespace r1;

namespace {

constexpr int64_t BLOCK = 128;
constexpr int64_t LEAST = 1 << 15;  // weights that pay for a thread
constexpr float MAX = 448;          // the largest e4m3 number

constexpr int TALL = LANES == 16 ? 4 : 2;  // outputs together: as many as leave registers for sums

// Below 2^-6 a code has no hidden bit: read as if it had that of 2^-6, it is too large by just as much.
inline float decode(uint8_t code) {
  const uint32_t size = code & 0x7f;
  const float normal = float_of((size << 20) + (120u << 23));
  const float small = float_of((size << 20) + (121u << 23)) - 0x1p-6f;
  const uint32_t nan = size == 0x7f ? NOT_A_NUMBER : 0;
  return float_of(word_of(size < 8 ? small : normal) | nan | uint32_t(code & 0x80) << 24);
}

// To nearest, ties to even; |x| <= 448. Below 2^-6 the addition of 2^14, whose last place is 2^-9, does the rounding.
inline uint8_t encode(float x) {
  const uint32_t size = word_of(x) & MAGNITUDE;
  const uint32_t small = word_of(float_of(size) + 0x1p14f) - word_of(0x1p14f);
  const uint32_t normal = ((size + 0x7ffff + ((size >> 20) & 1)) >> 20) - (120u << 3);
  return uint8_t((size < word_of(0x1p-6f) ? small : normal) | (word_of(x) >> 24 & 0x80));
}

// The float nearest to x / y, given 1 / y. The compiler may make a division a product with a float's reciprocal, which
// is not that; a double's has bits enough, as no quotient of floats comes so near to the middle of two others.
inline float quotient(float x, double reciprocal) { return float(double(x) * reciprocal); }

template <class T>
void quantise(const T *weight, uint8_t *values, float *scale, int64_t O, int64_t I, int64_t threads) {
  const int64_t across = (I + BLOCK - 1) / BLOCK;
  parallel((O + BLOCK - 1) / BLOCK, threads, LEAST / (BLOCK * I + 1) + 1, [=](int64_t begin, int64_t end, int64_t) {
    for (int64_t block = begin * across; block < end * across; ++block) {
      const int64_t top = block / across * BLOCK, bottom = std::min(O, top + BLOCK);
      const int64_t left = block % across * BLOCK, width = std::min(I - left, BLOCK);
      float largest = 0;
      for (int64_t o = top; o < bottom; ++o)
        for (int64_t i = 0; i < width; ++i) largest = std::max(largest, std::fabs(widen(weight[o * I + left + i])));
      const float factor = quotient(largest, 1.0 / double(MAX));
      scale[block] = factor > 0 ? factor : 1;
      const double reciprocal = 1.0 / double(scale[block]);
      for (int64_t o = top; o < bottom; ++o)
        for (int64_t i = 0; i < width; ++i) {
          const float x = quotient(widen(weight[o * I + left + i]), reciprocal);
          values[o * I + left + i] = encode(std::min(std::max(x, -MAX), MAX));
        }
    }
  });
}

#if defined(__AVX512BW__)
// The bfloat16 of every code without its sign: two look-ups of 64 numbers are cheaper than arithmetic.
struct Table {
  alignas(64) uint16_t entries[128];
  Table() {
    for (int code = 0; code < 128; ++code) entries[code] = uint16_t(word_of(decode(uint8_t(code))) >> 16);
  }
};
const Table table;

inline __m512i look_up(__m512i codes) {
  const __m512i *t = reinterpret_cast<const __m512i *>(table.entries);
  const __m512i low = _mm512_permutex2var_epi16(t[0], codes, t[1]), high = _mm512_permutex2var_epi16(t[2], codes, t[3]);
  const __m512i size = _mm512_mask_mov_epi16(low, _mm512_test_epi16_mask(codes, _mm512_set1_epi16(0x40)), high);
  return _mm512_or_si512(size, _mm512_slli_epi16(_mm512_and_si512(codes, _mm512_set1_epi16(0x80)), 8));
}
inline __m512 widen16(__m256i x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16)); }
inline void store(__m512i found, float *out) {
  _mm512_storeu_ps(out, widen16(_mm512_castsi512_si256(found)));
  _mm512_storeu_ps(out + 16, widen16(_mm512_extracti64x4_epi64(found, 1)));
}
inline void store(__m512i found, bf16 *out) { _mm512_storeu_si512(out, found); }
#endif

#if defined(__AVX2__) && defined(__F16C__) && !defined(__AVX512BW__)
#define R1_HALVES 1
// The bits of an e4m3 code are those of an IEEE half with another bias of the exponent, subnormal numbers included: the
// half is 2^-8 of the number, and the processor widens halves.
constexpr float HALVES = 256;
struct Wide {
  __m256 low, high;
};
inline Wide halves(const uint8_t *codes) {  // of 16 codes
  const __m256i words = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i *>(codes)));
  const __m256i size = _mm256_and_si256(_mm256_slli_epi16(words, 7), _mm256_set1_epi16(0x3f80));
  const __m256i sign = _mm256_slli_epi16(_mm256_srli_epi16(words, 7), 15);
  const __m256i all = _mm256_set1_epi16(0x3f80), nan = _mm256_set1_epi16(0x7e00);
  const __m256i bits = _mm256_or_si256(_mm256_or_si256(size, sign), _mm256_and_si256(_mm256_cmpeq_epi16(size, all), nan));
  return {_mm256_cvtph_ps(_mm256_castsi256_si128(bits)), _mm256_cvtph_ps(_mm256_extracti128_si256(bits, 1))};
}
inline void store(Wide x, float *out) {
  _mm256_storeu_ps(out, x.low);
  _mm256_storeu_ps(out + 8, x.high);
}
// To nearest, ties to even. The NaN of a code has no bits that a sum would carry over; another one must not come here.
inline __m256i upper(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  return _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
}
inline void store(Wide x, bf16 *out) {
  const __m256i words = _mm256_packus_epi32(upper(x.low), upper(x.high));
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(out), _mm256_permute4x64_epi64(words, 0xd8));
}
#endif

// Exact, as every code is a bfloat16.
template <class T> void decode(const uint8_t *codes, T *out, int64_t count) {
  int64_t i = 0;
#if defined(__AVX512BW__)
  for (; i + 32 <= count; i += 32)
    store(look_up(_mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(codes + i)))), out + i);
#endif
#if defined(R1_HALVES)
  const __m256 factor = _mm256_set1_ps(HALVES);
  for (; i + 16 <= count; i += 16) {
    const Wide x = halves(codes + i);
    store({x.low * factor, x.high * factor}, out + i);
  }
#endif
  for (; i < count; ++i) out[i] = narrow<T>(decode(codes[i]));
}

// out = the codes' numbers · scale, for at most a block.
template <class T> void scaled(const uint8_t *codes, float scale, T *out, int64_t count) {
  int64_t i = 0;
#if defined(R1_HALVES)
  // The same product to the bit, unless a factor is too large or a NaN.
  if ((word_of(scale) & MAGNITUDE) < word_of(0x1p119f)) {
    const __m256 factor = _mm256_set1_ps(scale * HALVES);
    for (; i + 16 <= count; i += 16) {
      const Wide x = halves(codes + i);
      store({x.low * factor, x.high * factor}, out + i);
    }
  }
  for (; i < count; ++i) out[i] = narrow<T>(decode(codes[i]) * scale);
#else
  float x[BLOCK];
  decode(codes, x, count);
#if defined(__AVX512BF16__)
  // The processor's own rounding takes subnormal numbers for zero: not where a product may be one.
  if (sizeof(T) == 2 && scale > 0x1p-116f)
    for (; i + 32 <= count; i += 32) {
      const __m512 factor = _mm512_set1_ps(scale);
      const __m512 low = _mm512_loadu_ps(x + i) * factor, high = _mm512_loadu_ps(x + i + 16) * factor;
      const __m512bh rounded = _mm512_cvtne2ps_pbh(high, low);
      std::memcpy(out + i, &rounded, 64);
    }
#endif
  for (; i < count; ++i) out[i] = narrow<T>(x[i] * scale);
#endif
}

// Of fresh memory most time goes into its first touch, page by page; pages may be large ones where the system has them.
void large_pages(void *begin, uint64_t size) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uint64_t PAGE = 1 << 21;
  const uint64_t first = (reinterpret_cast<uint64_t>(begin) + PAGE - 1) / PAGE * PAGE;
  const uint64_t last = (reinterpret_cast<uint64_t>(begin) + size) / PAGE * PAGE;
  if (first < last) madvise(reinterpret_cast<void *>(first), last - first, MADV_HUGEPAGE);
#endif
}

template <class T>
void dequantise(const uint8_t *values, const float *scale, T *out, int64_t O, int64_t I, int64_t threads) {
  const int64_t across = (I + BLOCK - 1) / BLOCK;
  large_pages(out, O * I * sizeof(T));
  parallel(O, threads, LEAST / (I + 1) + 1, [=](int64_t begin, int64_t end, int64_t) {
    for (int64_t o = begin; o < end; ++o)
      for (int64_t b = 0; b < across; ++b) {
        const int64_t at = o * I + b * BLOCK;
        scaled(values + at, scale[o / BLOCK * across + b], out + at, std::min(I - b * BLOCK, BLOCK));
      }
  });
}

// What weights and rows are held in while they are multiplied: bfloat16 where there are products of such.
template <class T> struct Held {
  typedef float type;
};
inline Vec step(Vec sum, const float *x, const float *w) {
  return sum + *reinterpret_cast<const Vec *>(x) * *reinterpret_cast<const Vec *>(w);
}
#if defined(__AVX512BF16__)
template <> struct Held<bf16> {
  typedef bf16 type;
};
inline Vec step(Vec sum, const bf16 *x, const bf16 *w) {
  return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_loadu_si512(x), (__m512bh)_mm512_loadu_si512(w));
}
#endif

// sums[r][t] += scale · (rows[r] * weights[t]) over one block's width, a vector each.
template <int R, class H>
void tile(const H *rows, const H (*weights)[BLOCK], float scale, Vec (*sums)[TALL]) {
  Vec sum[R][TALL] = {};
  for (int64_t i = 0; i < BLOCK; i += int64_t(sizeof(Vec) / sizeof(H)))
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int t = 0; t < TALL; ++t) sum[r][t] = step(sum[r][t], rows + r * BLOCK + i, weights[t] + i);
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < TALL; ++t) sums[r][t] += scale * sum[r][t];
}

// TALL outputs at a time, which never lie in two blocks: their weights of one block's width are decoded and used by all
// rows, and the block's factor multiplies the sums. How outputs are grouped does not depend on the threads.
template <class T>
void linear(const T *x, const uint8_t *values, const float *scale, const T *bias, T *out, int64_t N, int64_t O,
            int64_t I, int64_t threads) {
  typedef typename Held<T>::type H;
  const int64_t across = (I + BLOCK - 1) / BLOCK;
  std::vector<H> rows(across * N * BLOCK);  // block by block, all rows of a block together; zeros beyond the edge
  for (int64_t n = 0; n < N; ++n)
    for (int64_t i = 0; i < I; ++i) rows[(i / BLOCK * N + n) * BLOCK + i % BLOCK] = narrow<H>(widen(x[n * I + i]));
  parallel((O + TALL - 1) / TALL, threads, LEAST / (TALL * I + 1) + 1, [&](int64_t begin, int64_t end, int64_t) {
    std::vector<float> buffer(N * TALL * LANES);
    Vec(*sums)[TALL] = reinterpret_cast<Vec(*)[TALL]>(buffer.data());
    for (int64_t o = begin * TALL; o < std::min(O, end * TALL); o += TALL) {
      const int tall = int(std::min<int64_t>(TALL, O - o));
      std::fill(buffer.begin(), buffer.end(), 0.0f);
      H weights[TALL][BLOCK] = {};
      for (int64_t b = 0; b < across; ++b) {
        const int64_t width = std::min(I - b * BLOCK, BLOCK);
        if (width < BLOCK) std::memset(weights, 0, sizeof(weights));
        for (int t = 0; t < tall; ++t) decode(values + (o + t) * I + b * BLOCK, weights[t], width);
        const float factor = scale[o / BLOCK * across + b];
        const H *from = rows.data() + b * N * BLOCK;
        int64_t n = 0;
        for (; n + 4 <= N; n += 4) tile<4>(from + n * BLOCK, weights, factor, sums + n);
        for (; n + 2 <= N; n += 2) tile<2>(from + n * BLOCK, weights, factor, sums + n);
        if (n < N) tile<1>(from + n * BLOCK, weights, factor, sums + n);
      }
      for (int64_t n = 0; n < N; ++n)
        for (int t = 0; t < tall; ++t) {
          float sum = 0;
          for (int lane = 0; lane < LANES; ++lane) sum += sums[n][t][lane];
          out[n * O + o + t] = narrow<T>(bias ? sum + widen(bias[o + t]) : sum);
        }
    }
  });
}

}  // namespace

#define EXPORT(T, NAME)                                                                                            \
  extern "C" void fp8_quantise_##NAME(const T *weight, uint8_t *values, float *scale, int64_t O, int64_t I,        \
                                      int64_t threads) {                                                           \
    quantise(weight, values, scale, O, I, threads);                                                                \
  }                                                                                                                \
  extern "C" void fp8_dequantise_##NAME(const uint8_t *values, const float *scale, T *out, int64_t O, int64_t I,   \
                                        int64_t threads) {                                                         \
    dequantise(values, scale, out, O, I, threads);                                                                 \
  }                                                                                                                \
  extern "C" void fp8_linear_##NAME(const T *x, const uint8_t *values, const float *scale, const T *bias, T *out,  \
                                    int64_t N, int64_t O, int64_t I, int64_t threads) {                            \
    linear(x, values, scale, bias, out, N, O, I, threads);                                                         \
  }
EXPORT(float, f32)
EXPORT(bf16, bf16)
