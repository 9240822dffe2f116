// What the C++ implementations share: vectors, bfloat16, and work spread over threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

namespace r1 {

// A vector register of floats, as wide as the processor's.
#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif
typedef float Vec __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

// The upper half of a float. Compilers turn loops over these conversions into vector code.
struct bf16 {
  uint16_t bits;
};

// A float's word, by which alone NaN and infinity are told: -ffast-math takes all numbers for finite.
inline uint32_t word_of(float x) {
  uint32_t word;
  std::memcpy(&word, &x, 4);
  return word;
}
inline float float_of(uint32_t word) {
  float x;
  std::memcpy(&x, &word, 4);
  return x;
}
constexpr uint32_t MAGNITUDE = 0x7fffffff;  // all of a word but the sign
constexpr uint32_t INFINITE = 0x7f800000;   // magnitudes above it are NaN
constexpr uint32_t NOT_A_NUMBER = 0x7fc00000;

inline float widen(float x) { return x; }
inline float widen(bf16 x) { return float_of(uint32_t(x.bits) << 16); }

// exp(-x) stays finite: -ffast-math makes NaN of a quotient by infinity on some processors.
inline float sigmoid(float x) { return 1.0f / (1.0f + std::exp(x < -80.0f ? 80.0f : -x)); }

template <class T> inline T narrow(float x);
template <> inline float narrow<float>(float x) { return x; }
// To nearest, ties to even. NaN stays NaN.
template <> inline bf16 narrow<bf16>(float x) {
  const uint32_t wide = word_of(x);
  const uint32_t rounded = (wide + 0x7fff + ((wide >> 16) & 1)) >> 16;
  return {uint16_t((wide & MAGNITUDE) > INFINITE ? NOT_A_NUMBER >> 16 : rounded)};
}

// Calls work(part) for the parts [0, parts), each in a thread of its own where there are so many.
//
// With OpenMP these are the threads that torch's own loops run in: they are awake, so that a start costs microseconds;
// threads of ours would share the cores with them, as they wait for torch's next loop by spinning.
template <class Work> void in_threads(int64_t parts, const Work &work) {
#if defined(_OPENMP)
#pragma omp parallel for schedule(static, 1) num_threads(int(parts)) if (parts > 1)
  for (int64_t part = 0; part < parts; ++part) work(part);
#else
  std::vector<std::thread> others;
  for (int64_t part = 1; part < parts; ++part) others.emplace_back([&work, part] { work(part); });
  work(0);
  for (auto &thread : others) thread.join();
#endif
}

// Calls work(begin, end, part) on up to `threads` parts of [0, count), none shorter than `least` but the only one.
template <class Work> void parallel(int64_t count, int64_t threads, int64_t least, const Work &work) {
  const int64_t parts = std::max<int64_t>(1, std::min(threads, count / std::max<int64_t>(1, least)));
  in_threads(parts, [&](int64_t part) { work(count * part / parts, count * (part + 1) / parts, part); });
}

// Whether all numbers lie in [0, bound).
inline bool all_below(const int64_t *numbers, int64_t count, int64_t bound) {
  return std::all_of(numbers, numbers + count, [bound](int64_t n) { return n >= 0 && n < bound; });
}

}  // namespace r1
