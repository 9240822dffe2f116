// A decoding step of absorbed latent attention. Specification: kernels/mla_decode/ref.py.
//
// G heads of one row read the row's cache once, a block of keys at a time: scored, and added to the output under a
// softmax that is rescaled whenever a higher score appears (Milakov and Gimelshein, arXiv 1805.02867). Long rows come
// apart into spans that several threads may take (Dao et al., flash decoding), always the same ones: a head's
// arithmetic is the same whatever other rows, heads and threads there are.

#include <cmath>

#include "../vector.h"

using namespace r1;

namespace {

constexpr int KEYS = 64;            // keys a block: scored before their latents are added up
constexpr int64_t SPAN = 1024;      // keys of a span
constexpr int64_t LEAST = 1 << 21;  // products that pay for a thread
constexpr float LOWEST = -3e38f;

int64_t chunks(int64_t numbers) { return (numbers + CHUNK - 1) / CHUNK; }

// What G heads attend to in some keys: a sum under a softmax without its denominator.
template <int G> struct Attended {
  float highest[G], sum[G];
  std::vector<Pair> out;  // [chunks, G]

  void clear(int64_t C) {
    std::fill(highest, highest + G, LOWEST);
    std::fill(sum, sum + G, 0.0f);
    out.assign(chunks(C) * G, Pair{});
  }

  // Makes `most` the highest score of head h.
  void raise(int h, float most) {
    const float scale = std::exp(std::max(highest[h] - most, -104.0f));
    highest[h] = most;
    sum[h] *= scale;
    for (size_t i = h; i < out.size(); i += G) out[i] = {out[i].first * scale, out[i].second * scale};
  }

  // Head h has met a score that is NaN or +inf: its softmax is NaN, and so is `out` whatever is added from now on. A flag
  // beside `highest` and `sum` instead makes compilers keep less in registers, and the kernel a quarter slower.
  void spoil(int h) {
    for (size_t i = h; i < out.size(); i += G) out[i].first = out[i].second = Vec{} + float_of(NOT_A_NUMBER);
  }

  // Adds what later keys gave.
  void add(const Attended &other) {
    for (int h = 0; h < G; ++h) {
      if (other.highest[h] > highest[h]) raise(h, other.highest[h]);
      const float scale = std::exp(std::max(other.highest[h] - highest[h], -104.0f));
      sum[h] += other.sum[h] * scale;
      for (size_t i = h; i < out.size(); i += G) {
        out[i].first += other.out[i].first * scale;
        out[i].second += other.out[i].second * scale;
      }
    }
  }

  // Zero where there were no keys.
  template <class T> void write(T *to, int64_t heads, int64_t C) const {
    for (int64_t h = 0; h < heads; ++h) {
      const float scale = sum[h] > 0 ? 1 / sum[h] : 0;
      for (int64_t c = 0; c < C; c += CHUNK) {
        const Pair &from = out[c / CHUNK * G + h];
        store(Pair{from.first * scale, from.second * scale}, to + h * C + c, C - c);
      }
    }
  }
};

// scores [TILE / G, G] of the keys at some places. Asks for those that lie `ahead`, as they come from far.
template <int G, class T>
void score(const Factor<T> *query, const T *const *keys, int64_t W, int64_t ahead, float *scores) {
  constexpr int N = TILE / G;
  Vec sum[TILE] = {};
  for (int64_t i = 0; i < W; i += CHUNK, query += G) {
    Factor<T> key[N];
    for (int n = 0; n < N; ++n) {
      key[n] = factor(keys[n] + i, W - i);
      __builtin_prefetch(keys[n] + i + ahead);
    }
#pragma GCC unroll 8
    for (int h = 0; h < G; ++h)
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) add_product(query[h], key[n], sum[n * G + h]);
  }
  totals(sum, scores);
}

// Turns scores [count, G] into exp(score - highest), rounded as the released code rounds them, and adds them up.
template <int G, class T> void soften(float *scores, int count, Attended<G> &attended) {
  float most[LANES], sum[LANES] = {}, seen[LANES] = {};  // sums of shares; and of scores, which NaN and +inf pass into
  for (int h = 0; h < G; ++h) most[h] = attended.highest[h];
  for (int t = 0; t < count; ++t)
    for (int h = 0; h < G; ++h) most[h] = std::max(most[h], scores[t * G + h]);
  for (int h = 0; h < G; ++h)
    if (most[h] > attended.highest[h]) attended.raise(h, most[h]);
  for (int i = G; i < LANES; ++i) most[i] = most[i - G];
  std::fill(scores + count * G, scores + KEYS * G, LOWEST);
  for (int first = 0; first < count * G; first += LANES)  // by itself: within the next loop it costs 4%
    for (int i = 0; i < LANES; ++i) seen[i] += scores[first + i];
  for (int first = 0; first < count * G; first += LANES)
    for (int i = 0; i < LANES; ++i) {
      scores[first + i] = widen(narrow<T>(std::exp(std::max(scores[first + i] - most[i], -104.0f))));
      sum[i] += scores[first + i];
    }
  for (int i = 0; i < LANES; ++i) attended.sum[i % G] += sum[i];
  for (int i = 0; i < LANES; ++i)
    if ((word_of(seen[i]) & MAGNITUDE) > INFINITE || word_of(seen[i]) == INFINITE) attended.spoil(i % G);
}

// out [chunks, G] += shares [count, G] of the latents.
template <int G, class T>
void attend(const float *shares, const T *keys, int64_t step, int count, int64_t C, int64_t W, Pair *out) {
  for (int64_t c = 0; c < C; c += CHUNK, out += G) {
    Pair sum[G];
    for (int h = 0; h < G; ++h) sum[h] = out[h];
    for (int t = 0; t < count; ++t) {
      const Pair latent = load(keys + t * step + c, W - c);
#pragma GCC unroll 8
      for (int h = 0; h < G; ++h) {
        sum[h].first += shares[t * G + h] * latent.first;
        sum[h].second += shares[t * G + h] * latent.second;
      }
    }
    for (int h = 0; h < G; ++h) out[h] = sum[h];
  }
}

#if defined(__AVX512BF16__)
// The same by the processor's products of bfloat16, which take two keys at once: their shares side by side, and
// their latents' places alike. Of an odd number's last key there are two, the second with no share.
template <int G>
void attend(const float *shares, const bf16 *keys, int64_t step, int count, int64_t C, int64_t W, Pair *out) {
  uint32_t bits[KEYS * G], both[KEYS / 2 * G], even[LANES], odd[LANES];
  std::memcpy(bits, shares, sizeof bits);
  for (int t = 0; t < count; t += 2)
    for (int h = 0; h < G; ++h) both[t / 2 * G + h] = bits[t * G + h] >> 16 | bits[(t + 1) * G + h];
  for (int i = 0; i < LANES; ++i) {
    even[i] = 2 * i | (CHUNK + 2 * i) << 16;
    odd[i] = even[i] + 0x10001;
  }
  const __m512i evens = _mm512_loadu_si512(even), odds = _mm512_loadu_si512(odd);
  for (int64_t c = 0; c < C; c += CHUNK, out += G) {
    Pair sum[G];
    for (int h = 0; h < G; ++h) sum[h] = out[h];
    for (int t = 0; t < count; t += 2) {
      const bf16 *key = keys + t * step + c, *next = t + 1 < count ? key + step : key;
      const __m512i a = _mm512_maskz_loadu_epi16(leading(W - c), key), b = _mm512_maskz_loadu_epi16(leading(W - c), next);
      const Packed first = {(__m512bh)_mm512_permutex2var_epi16(a, evens, b)};
      const Packed second = {(__m512bh)_mm512_permutex2var_epi16(a, odds, b)};
#pragma GCC unroll 8
      for (int h = 0; h < G; ++h) {
        const Packed share = {(__m512bh)_mm512_set1_epi32(both[t / 2 * G + h])};
        add_product(share, first, sum[h].first);
        add_product(share, second, sum[h].second);
      }
    }
    for (int h = 0; h < G; ++h) out[h] = sum[h];
  }
}
#endif

// `heads` of G heads over `count` keys of one row.
template <int G, class T>
void decode(const T *query, int64_t heads, const T *keys, int64_t step, int64_t count, int64_t C, int64_t W,
            std::vector<Factor<T>> &factors, Attended<G> &attended) {
  constexpr int N = TILE / G;
  factors.assign(chunks(W) * G, Factor<T>{});
  for (int64_t i = 0; i < W; i += CHUNK)
    for (int64_t h = 0; h < heads; ++h) factors[i / CHUNK * G + h] = factor(query + h * W + i, W - i);
  attended.clear(C);
  float scores[KEYS * G];
  for (int64_t start = 0; start < count; start += KEYS, keys += KEYS * step) {
    const int now = int(std::min<int64_t>(KEYS, count - start));
    for (int t = 0; t < now; t += N) {
      const T *key[N];
      for (int n = 0; n < N; ++n) key[n] = keys + std::min(t + n, now - 1) * step;
      score<G, T>(factors.data(), key, W, KEYS * step, scores + t * G);
    }
    soften<G, T>(scores, now, attended);
    attend<G>(scores, keys, step, now, C, W, attended.out.data());
  }
}

// Strides count numbers; lengths is null where all rows have the same.
template <int G, class T>
void decode_all(const T *query, const T *cache, const int64_t *lengths, T *out, int64_t rows, int64_t H, int64_t length,
                int64_t row_stride, int64_t column_stride, int64_t C, int64_t W, int64_t threads) {
  const int64_t groups = (H + G - 1) / G, spans = std::max<int64_t>(1, (length + SPAN - 1) / SPAN);
  const int64_t products = G * std::min(SPAN, length) * (C + W) + 1;
  std::vector<Attended<G>> parts(spans > 1 ? rows * groups * spans : 0);
  const auto write = [=](const Attended<G> &attended, int64_t group) {
    const int64_t r = group / groups, h = group % groups * G;
    attended.write(out + (r * H + h) * C, std::min<int64_t>(G, H - h), C);
  };
  parallel(rows * groups * spans, threads, LEAST / products + 1, [&](int64_t first, int64_t last, int64_t) {
    std::vector<Factor<T>> factors;
    Attended<G> own;
    for (int64_t i = first; i < last; ++i) {
      const int64_t r = i / spans / groups, h = i / spans % groups * G, begin = i % spans * SPAN;
      const int64_t end = std::min(lengths ? std::min(length, lengths[r]) : length, begin + SPAN);
      Attended<G> &attended = spans > 1 ? parts[i] : own;
      decode<G, T>(query + (r * H + h) * W, std::min<int64_t>(G, H - h),
                   cache + r * row_stride + begin * column_stride, column_stride, end - begin, C, W, factors, attended);
      if (spans == 1) write(attended, i);
    }
  });
  for (size_t i = 0; i < parts.size(); i += spans) {
    for (int64_t s = 1; s < spans; ++s) parts[i].add(parts[i + s]);
    write(parts[i], i / spans);
  }
}

}  // namespace

#define EXPORT(T, NAME)                                                                                            \
  extern "C" void mla_decode_##NAME(const T *query, const T *cache, const int64_t *lengths, T *out, int64_t rows, \
                                    int64_t heads, int64_t length, int64_t row_stride, int64_t column_stride,     \
                                    int64_t latent, int64_t width, int64_t threads) {                             \
    (heads <= TILE / 4 ? decode_all<TILE / 4, T> : decode_all<TILE / 2, T>)(                                       \
        query, cache, lengths, out, rows, heads, length, row_stride, column_stride, latent, width, threads);      \
  }
EXPORT(float, f32)
EXPORT(bf16, bf16)
