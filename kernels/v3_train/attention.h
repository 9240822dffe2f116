// Causal attention within the segments of a block, forward and backward, from expanded keys and values.
// A segment's queries see all of its prefix and their own past.
#pragma once

#include "model.h"

namespace r1 {

// One head's keys and values of a segment, gathered and arranged.
struct Head {
  std::vector<float> keys, values;                      // [T, dk], [T, dv]
  std::vector<float> keys_across, keys_down;            // panels [dk, T] and [T, dk]
  std::vector<float> values_across, values_down;        // panels [dv, T] and [T, dv]
  int64_t T;

  void gather(const Model &m, const Segment &s, int64_t h, const float *kv, const float *k_rope, bool backward) {
    const int64_t dk = m.dk(), dv = m.dv, width = m.H * (m.nope + dv);
    T = s.prefix_length + s.length;
    keys.resize(T * dk);
    values.resize(T * dv);
    for (int64_t t = 0; t < T; ++t) {
      const int64_t row = t < s.prefix_length ? s.prefix_start + t : s.start + t - s.prefix_length;
      const float *from = kv + row * width + h * (m.nope + dv);
      std::memcpy(&keys[t * dk], from, m.nope * sizeof(float));
      std::memcpy(&keys[t * dk + m.nope], k_rope + row * m.S, m.S * sizeof(float));
      std::memcpy(&values[t * dv], from + m.nope, dv * sizeof(float));
    }
    keys_across.resize(panels_size(dk, T));
    pack(keys.data(), 1, dk, dk, T, keys_across.data());
    if (backward) {
      keys_down.resize(panels_size(T, dk));
      pack(keys.data(), dk, 1, T, dk, keys_down.data());
      values_across.resize(panels_size(dv, T));
      pack(values.data(), 1, dv, dv, T, values_across.data());
    } else {
      values_down.resize(panels_size(T, dv));
      pack(values.data(), dv, 1, T, dv, values_down.data());
    }
  }
};

// c [R, ldc] = a [R, K] times the first `limit` columns of b.
inline void product_until(const float *a, int64_t lda, const float *panels, float *c, int64_t ldc, int64_t R,
                          int64_t limit, int64_t K) {
  for (int64_t n = 0; n < limit; n += WIDE) column<false>(a, lda, 1, panels + n * K, c + n, ldc, R, K, WIDE);
}

// c [R, N] = a [R, limit] times the first `limit` rows of b [T, N].
inline void product_of_rows(const float *a, int64_t lda, const float *panels, float *c, int64_t ldc, int64_t R,
                            int64_t N, int64_t limit, int64_t T) {
  for (int64_t n = 0; n < N; n += WIDE)
    column<false>(a, lda, 1, panels + n * T, c + n, ldc, R, limit, int(std::min<int64_t>(WIDE, N - n)));
}

// q [n, H dk] with rotary parts turned; fills attended [n, H dv] and lse [n, H].
inline void attention_forward(const Model &m, const Block &b, const float *q, const float *kv, const float *k_rope,
                              float *attended, float *lse, std::vector<float> &scores) {
  const int64_t dk = m.dk(), dv = m.dv, H = m.H;
  const float scale = float(m.scale);
  static thread_local Head head;
  for (const Segment &s : b.segments)
    for (int64_t h = 0; h < H; ++h) {
      head.gather(m, s, h, kv, k_rope, false);
      const int64_t wide = (head.T + WIDE - 1) / WIDE * WIDE;
      scores.resize(TALL * wide);
      for (int64_t first = 0; first < s.length; first += TALL) {
        const int64_t rows = std::min<int64_t>(TALL, s.length - first), limit = s.prefix_length + first + rows;
        const int64_t at = s.start + first;
        product_until(q + at * H * dk + h * dk, H * dk, head.keys_across.data(), scores.data(), wide, rows, limit, dk);
        for (int64_t r = 0; r < rows; ++r) {
          float *row = &scores[r * wide];
          const int64_t seen = s.prefix_length + first + r + 1;
          float highest = row[0], sum = 0;
          for (int64_t t = 1; t < seen; ++t) highest = std::max(highest, row[t]);
          for (int64_t t = 0; t < seen; ++t) {
            row[t] = std::exp((row[t] - highest) * scale);
            sum += row[t];
          }
          for (int64_t t = 0; t < seen; ++t) row[t] /= sum;
          for (int64_t t = seen; t < limit; ++t) row[t] = 0;
          lse[(at + r) * H + h] = highest * scale + std::log(sum);
        }
        product_of_rows(scores.data(), wide, head.values_down.data(), attended + at * H * dv + h * dv, H * dv, rows, dv,
                        limit, head.T);
      }
    }
}

// From the gradient of `attended` those of q, kv and k_rope; the last two are added to.
inline void attention_backward(const Model &m, const Block &b, const float *q, const float *kv, const float *k_rope,
                               const float *attended, const float *lse, const float *grad, float *grad_q,
                               float *grad_kv, float *grad_k_rope) {
  const int64_t dk = m.dk(), dv = m.dv, H = m.H, width = H * (m.nope + dv);
  const float scale = float(m.scale);
  static thread_local Head head;
  static thread_local std::vector<float> shares, slopes, grad_keys, grad_values;
  for (const Segment &s : b.segments)
    for (int64_t h = 0; h < H; ++h) {
      head.gather(m, s, h, kv, k_rope, true);
      const int64_t T = head.T, wide = (T + WIDE - 1) / WIDE * WIDE;
      shares.resize(s.length * wide);
      slopes.resize(s.length * wide);
      for (int64_t first = 0; first < s.length; first += TALL) {
        const int64_t rows = std::min<int64_t>(TALL, s.length - first), limit = s.prefix_length + first + rows;
        const int64_t at = s.start + first;
        float *share = &shares[first * wide], *slope = &slopes[first * wide];
        product_until(q + at * H * dk + h * dk, H * dk, head.keys_across.data(), share, wide, rows, limit, dk);
        product_until(grad + at * H * dv + h * dv, H * dv, head.values_across.data(), slope, wide, rows, limit, dv);
        for (int64_t r = 0; r < rows; ++r) {
          const int64_t seen = s.prefix_length + first + r + 1;
          const float *out = attended + (at + r) * H * dv + h * dv, *g = grad + (at + r) * H * dv + h * dv;
          const float total = lse[(at + r) * H + h];
          float along = 0;
          for (int64_t i = 0; i < dv; ++i) along += out[i] * g[i];
          float *p = share + r * wide, *d = slope + r * wide;
          for (int64_t t = 0; t < seen; ++t) {
            p[t] = std::exp(p[t] * scale - total);
            d[t] = p[t] * (d[t] - along) * scale;
          }
          for (int64_t t = seen; t < wide; ++t) p[t] = d[t] = 0;
        }
        product_of_rows(slope, wide, head.keys_down.data(), grad_q + at * H * dk + h * dk, H * dk, rows, dk, limit, T);
      }
      grad_keys.assign(T * dk, 0);
      grad_values.assign(T * dv, 0);
      outer(slopes.data(), wide, q + s.start * H * dk + h * dk, H * dk, grad_keys.data(), dk, s.length, T, dk);
      outer(shares.data(), wide, grad + s.start * H * dv + h * dv, H * dv, grad_values.data(), dv, s.length, T, dv);
      for (int64_t t = 0; t < T; ++t) {
        const int64_t row = t < s.prefix_length ? s.prefix_start + t : s.start + t - s.prefix_length;
        float *to = grad_kv + row * width + h * (m.nope + dv);
        add(to, &grad_keys[t * dk], m.nope);
        add(grad_k_rope + row * m.S, &grad_keys[t * dk + m.nope], m.S);
        add(to + m.nope, &grad_values[t * dv], dv);
      }
    }
}

}  // namespace r1
