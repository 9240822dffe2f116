// A decoding step of absorbed latent attention. Specification: kernels/mla_decode/ref.py.
//
// A group of heads of one row reads the row's cache once, a block of keys at a time: widened to float into a buffer
// that stays in the nearest cache, scored, and added to the output under a softmax that is rescaled whenever a higher
// score appears (Milakov and Gimelshein, arXiv 1805.02867). A head's arithmetic is the same whatever other rows, heads
// and threads there are.

#include <cmath>

#include "../parallel.h"

using namespace r1;

namespace {

// As many heads at once as leave registers for their accumulators, two a head.
constexpr int GROUP = LANES == 16 ? 8 : 4;
constexpr int WIDE = 2 * LANES;
constexpr int KEYS = 16;              // keys a block
constexpr int64_t LEAST = 1 << 21;    // products that pay for a thread
constexpr float LOWEST = -3e38f;

inline const Vec &at(const float *x) { return *reinterpret_cast<const Vec *>(x); }
inline Vec &at(float *x) { return *reinterpret_cast<Vec *>(x); }

int64_t padded(int64_t n) { return (n + WIDE - 1) / WIDE * WIDE; }

template <class T> void widen_row(const T *from, float *to, int64_t width) {
  for (int64_t i = 0; i < width; ++i) to[i] = widen(from[i]);
}

inline float total(const Vec &v) {
  float sum = 0;
  for (int i = 0; i < LANES; ++i) sum += v[i];
  return sum;
}

// scores [GROUP, KEYS] of two neighbouring keys.
void score(const float *query, const float *key, int64_t width, float *scores) {
  Vec sum[GROUP][2] = {};
  for (int64_t i = 0; i < width; i += LANES) {
    const Vec first = at(key + i), second = at(key + width + i);
#pragma GCC unroll 8
    for (int h = 0; h < GROUP; ++h) {
      const Vec q = at(query + h * width + i);
      sum[h][0] += q * first;
      sum[h][1] += q * second;
    }
  }
  for (int h = 0; h < GROUP; ++h) {
    scores[h * KEYS] = total(sum[h][0]);
    scores[h * KEYS + 1] = total(sum[h][1]);
  }
}

// out [GROUP, columns] += shares [GROUP, KEYS] block [count, width].
void attend(const float *shares, const float *block, int64_t width, int count, float *out, int64_t columns) {
  for (int64_t c = 0; c < columns; c += WIDE) {
    Vec sum[GROUP][2];
    for (int h = 0; h < GROUP; ++h) {
      sum[h][0] = at(out + h * columns + c);
      sum[h][1] = at(out + h * columns + c + LANES);
    }
    for (int t = 0; t < count; ++t) {
      const Vec first = at(block + t * width + c), second = at(block + t * width + c + LANES);
#pragma GCC unroll 8
      for (int h = 0; h < GROUP; ++h) {
        const float share = shares[h * KEYS + t];
        sum[h][0] += share * first;
        sum[h][1] += share * second;
      }
    }
    for (int h = 0; h < GROUP; ++h) {
      at(out + h * columns + c) = sum[h][0];
      at(out + h * columns + c + LANES) = sum[h][1];
    }
  }
}

// Turns scores into exp(score - highest), and rescales what was summed up to a lower highest.
void soften(float *scores, int count, float &highest, float &sum, float *out, int64_t columns) {
  float most = highest;
  for (int t = 0; t < count; ++t) most = std::max(most, scores[t]);
  if (most > highest) {
    const float scale = std::exp(std::max(highest - most, -104.0f));
    sum *= scale;
    for (int64_t c = 0; c < columns; ++c) out[c] *= scale;
    highest = most;
  }
  for (int t = 0; t < count; ++t) {
    scores[t] = std::exp(scores[t] - highest);
    sum += scores[t];
  }
}

struct Buffers {
  std::vector<float> query, block, out;
};

// Heads [0, heads) of a group over the first `end` keys of one row.
template <class T>
void decode(const T *query, const T *cache, int64_t step, T *out, int64_t heads, int64_t end, int64_t C, int64_t W,
            Buffers &b) {
  const int64_t width = padded(W), columns = padded(C);
  std::fill(b.query.begin(), b.query.end(), 0.0f);
  std::fill(b.out.begin(), b.out.end(), 0.0f);
  for (int64_t h = 0; h < heads; ++h) widen_row(query + h * W, &b.query[h * width], W);
  float scores[GROUP * KEYS], highest[GROUP], sum[GROUP] = {};
  std::fill(highest, highest + GROUP, LOWEST);
  for (int64_t start = 0; start < end; start += KEYS) {
    const int count = int(std::min<int64_t>(KEYS, end - start));
    for (int t = 0; t < count; ++t) widen_row(cache + (start + t) * step, &b.block[t * width], W);
    for (int t = 0; t < count; t += 2) score(b.query.data(), &b.block[t * width], width, scores + t);
    for (int h = 0; h < GROUP; ++h) soften(scores + h * KEYS, count, highest[h], sum[h], &b.out[h * columns], columns);
    attend(scores, b.block.data(), width, count, b.out.data(), columns);
  }
  for (int64_t h = 0; h < heads; ++h) {
    const float scale = end > 0 ? 1 / sum[h] : 0;
    for (int64_t c = 0; c < C; ++c) out[h * C + c] = narrow<T>(b.out[h * columns + c] * scale);
  }
}

// Strides count numbers; lengths is null where all rows have the same.
template <class T>
void decode_all(const T *query, const T *cache, const int64_t *lengths, T *out, int64_t rows, int64_t H, int64_t length,
                int64_t row_stride, int64_t column_stride, int64_t C, int64_t W, int64_t threads) {
  const int64_t groups = (H + GROUP - 1) / GROUP;
  const int64_t products = std::max<int64_t>(1, GROUP * length * (C + W));
  parallel(rows * groups, threads, LEAST / products + 1, [=](int64_t first, int64_t last, int64_t) {
    Buffers b;
    b.query.resize(GROUP * padded(W));
    b.block.resize(KEYS * padded(W));
    b.out.resize(GROUP * padded(C));
    for (int64_t i = first; i < last; ++i) {
      const int64_t r = i / groups, h = i % groups * GROUP;
      decode(query + (r * H + h) * W, cache + r * row_stride, column_stride, out + (r * H + h) * C,
             std::min<int64_t>(GROUP, H - h), lengths ? std::min(length, lengths[r]) : length, C, W, b);
    }
  });
}

}  // namespace

#define EXPORT(T, NAME)                                                                                            \
  extern "C" void mla_decode_##NAME(const T *query, const T *cache, const int64_t *lengths, T *out, int64_t rows, \
                                    int64_t heads, int64_t length, int64_t row_stride, int64_t column_stride,     \
                                    int64_t latent, int64_t width, int64_t threads) {                             \
    decode_all(query, cache, lengths, out, rows, heads, length, row_stride, column_stride, latent, width,         \
               threads);                                                                                          \
  }
EXPORT(float, f32)
EXPORT(bf16, bf16)
