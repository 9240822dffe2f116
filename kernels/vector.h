// Registers of numbers: loaded and stored whatever the type and the length, multiplied, and added up.
#pragma once

#include "parallel.h"
#if defined(__AVX__)
#include <immintrin.h>
#endif

namespace r1 {

constexpr int CHUNK = 2 * LANES;  // numbers that are loaded together
// Dot products at once: as many as leave registers.
constexpr int TILE = LANES == 16 ? 16 : 8;
typedef uint32_t Words __attribute__((vector_size(LANES * sizeof(uint32_t)), aligned(4), may_alias));

// CHUNK numbers. Those that were bfloat16 lie apart, even places and odd ones: a shift and a mask widen them so, and
// neither products nor sums ask for an order.
struct alignas(LANES * sizeof(float)) Pair {
  Vec first, second;
};

#if defined(__AVX512BW__)
inline uint32_t leading(int64_t count) { return uint32_t((uint64_t(1) << std::clamp<int64_t>(count, 0, CHUNK)) - 1); }
#endif

// Copies the first `count` of CHUNK numbers. A length that the compiler knows takes registers, another one a call.
template <class T> inline void copy(const void *from, int64_t count, void *to) {
  if (count >= CHUNK) {
    std::memcpy(to, from, CHUNK * sizeof(T));
  } else {
    std::memcpy(to, from, std::max<int64_t>(0, count) * sizeof(T));
  }
}

// The first `count` of CHUNK numbers, and zeros.
inline Pair load(const float *x, int64_t count) {
#if defined(__AVX512BW__)
  const uint32_t mask = leading(count);
  return {(Vec)_mm512_maskz_loadu_ps(mask, x), (Vec)_mm512_maskz_loadu_ps(mask >> LANES, x + LANES)};
#else
  if (count >= CHUNK) return {*(const Vec *)x, *(const Vec *)(x + LANES)};  // half as fast by way of a variable
  Pair found = {};
  std::memcpy(&found, x, std::max<int64_t>(0, count) * sizeof(float));
  return found;
#endif
}

inline Pair load(const bf16 *x, int64_t count) {
#if defined(__AVX512BW__)
  const Words words = (Words)_mm512_maskz_loadu_epi16(leading(count), x);
#else
  Words words = {};
  copy<bf16>(x, count, &words);
#endif
  return {(Vec)(words << 16), (Vec)(words & 0xffff0000u)};
}

// To nearest, ties to even; the upper half of each word. NaN stays NaN: see narrow.
inline Words rounded(const Vec &x) {
  const Words bits = (Words)x;
  return (bits & 0x7fffffffu) > 0x7f800000u ? Words{} + 0x7fc00000u : bits + 0x7fff + (bits >> 16 & 1);
}

// The first `count` of a pair's numbers, in the order in which `load` of the same type found them.
inline void store(const Pair &x, float *out, int64_t count) {
#if defined(__AVX512BW__)
  const uint32_t mask = leading(count);
  _mm512_mask_storeu_ps(out, mask, (__m512)x.first);
  _mm512_mask_storeu_ps(out + LANES, mask >> LANES, (__m512)x.second);
#else
  copy<float>(&x, count, out);
#endif
}

inline void store(const Pair &x, bf16 *out, int64_t count) {
#if defined(__AVX512BF16__)
  const Words turns = {0x100000, 0x110001, 0x120002, 0x130003, 0x140004, 0x150005, 0x160006, 0x170007,
                       0x180008, 0x190009, 0x1a000a, 0x1b000b, 0x1c000c, 0x1d000d, 0x1e000e, 0x1f000f};
  const __m512i halves = (__m512i)_mm512_cvtne2ps_pbh((__m512)x.second, (__m512)x.first);
  const __m512i words = _mm512_permutexvar_epi16((__m512i)turns, halves);
#else
  const Words words = rounded(x.first) >> 16 | (rounded(x.second) & 0xffff0000u);
#endif
#if defined(__AVX512BW__)
  _mm512_mask_storeu_epi16(out, leading(count), (__m512i)words);
#else
  copy<bf16>(&words, count, out);
#endif
}

// A factor of dot products: a pair, or CHUNK bfloat16 as they are where the processor multiplies such.
#if defined(__AVX512BF16__)
struct Packed {
  __m512bh numbers;
};
inline Packed factor(const bf16 *x, int64_t count) {
  return {(__m512bh)_mm512_maskz_loadu_epi16(leading(count), x)};
}
inline void add_product(const Packed &a, const Packed &b, Vec &sum) {
  sum = (Vec)_mm512_dpbf16_ps((__m512)sum, a.numbers, b.numbers);
}
#else
inline Pair factor(const bf16 *x, int64_t count) { return load(x, count); }
#endif
inline Pair factor(const float *x, int64_t count) { return load(x, count); }
inline void add_product(const Pair &a, const Pair &b, Vec &sum) {
  sum += a.first * b.first;
  sum += a.second * b.second;
}
template <class T> using Factor = decltype(factor((const T *)nullptr, 0));

// The sum of the lanes, halves upon halves. -ffast-math lets a compiler add up in any order, and it takes another one
// in each place; what it must not look into keeps this one.
inline float total(const Vec &x) {
  float part[LANES];
  std::memcpy(part, &x, sizeof part);
#pragma GCC unroll 8
  for (int half = LANES / 2; half; half /= 2) {
    for (int i = 0; i < half; ++i) part[i] += part[i + half];
    asm("" : "+m"(part));
  }
  return part[0];
}

// out[i] = the sum of x[i]'s lanes, in an order that does not depend on i.
inline void totals(const Vec (&x)[TILE], float *out) {
#if defined(__AVX512BW__)
  const auto v = (const __m512 *)x;
  __m512 pairs[8], fours[4];
  for (int i = 0; i < 8; ++i)
    pairs[i] = _mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]) + _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]);
  for (int i = 0; i < 4; ++i) {
    const __m512d a = (__m512d)pairs[2 * i], b = (__m512d)pairs[2 * i + 1];
    fours[i] = (__m512)_mm512_unpacklo_pd(a, b) + (__m512)_mm512_unpackhi_pd(a, b);
  }
  // A quarter of fours[i] has its share of the sums 4 i … 4 i + 3.
  const __m512 low = _mm512_shuffle_f32x4(fours[0], fours[1], 0x44) + _mm512_shuffle_f32x4(fours[0], fours[1], 0xee);
  const __m512 high = _mm512_shuffle_f32x4(fours[2], fours[3], 0x44) + _mm512_shuffle_f32x4(fours[2], fours[3], 0xee);
  _mm512_storeu_ps(out, _mm512_shuffle_f32x4(low, high, 0x88) + _mm512_shuffle_f32x4(low, high, 0xdd));
#else
  for (int i = 0; i < TILE; ++i) out[i] = total(x[i]);
#endif
}

}  // namespace r1
