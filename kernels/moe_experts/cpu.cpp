// Routed experts for a few tokens: an expert's matrices are read once, for all the rows that chose it.
// Specification: kernels/moe_experts/ref.py. Matrices are torch's: gate_up [E, 2I, D], down [E, D, I].
//
// Threads share the matrices' rows and not the experts: so they have the same to read, whatever was chosen.

#include <cmath>

#include "../vector.h"

using namespace r1;

namespace {

constexpr int64_t LEAST = 1 << 18;  // weights that pay for a thread
constexpr int64_t AHEAD = 1 << 13;  // weights: memory is the limit, and answers as fast as it can if asked early

// Calls take(o, r, matrix[o] · rows[r]) for o in [begin, end) and `count` rows, at most R.
template <int R, class T, class Take>
void dots(const T *matrix, int64_t width, const T *const *rows, int64_t count, int64_t begin, int64_t end,
          const Take &take) {
  const T *row[R];
  for (int r = 0; r < R; ++r) row[r] = rows[std::min<int64_t>(r, count - 1)];
  for (int64_t o = begin; o < end; ++o) {
    const T *line = matrix + o * width;
    Vec sum[R] = {};
    for (int64_t i = 0; i < width; i += CHUNK) {
      const Factor<T> weights = factor(line + i, width - i);
      __builtin_prefetch(line + i + AHEAD, 0, 1);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) add_product(weights, factor(row[r] + i, width - i), sum[r]);
    }
    for (int r = 0; r < count; ++r) take(o, r, total(sum[r]));
  }
}

// The same for any number of rows; a row's results do not depend on the others.
template <class T, class Take>
void products(const T *matrix, int64_t width, const T *const *rows, int64_t count, int64_t begin, int64_t end,
              const Take &take) {
  for (int64_t first = 0; first < count; first += 4) {
    const auto taken = [&](int64_t o, int64_t r, float value) { take(o, first + r, value); };
    // Apart, with numbers that are constant where they can be: GCC 12 makes wrong code of a choice of functions here
    // for processors with AVX-512 that it tunes as Intel's.
    if (count - first > 2)
      dots<4>(matrix, width, rows + first, std::min<int64_t>(4, count - first), begin, end, taken);
    else if (count - first == 2)
      dots<2>(matrix, width, rows + first, 2, begin, end, taken);
    else
      dots<1>(matrix, width, rows + first, 1, begin, end, taken);
  }
}

// to = silu(gate) up weight, in whole vectors: what is left at an end would be rounded otherwise, and where ends lie
// depends on the threads.
template <class T> void gated(const float *gate, const float *up, float weight, T *to, int64_t width) {
  for (int64_t i = 0; i < width; i += LANES) {
    const int64_t count = std::min<int64_t>(LANES, width - i);
    float g[LANES] = {}, u[LANES] = {};
    T out[LANES];
    std::memcpy(g, gate + i, count * sizeof(float));
    std::memcpy(u, up + i, count * sizeof(float));
    for (int l = 0; l < LANES; ++l) out[l] = narrow<T>(g[l] * sigmoid(g[l]) * u[l] * weight);
    std::memcpy(to + i, out, count * sizeof(T));
  }
}

template <class T>
void few(const T *x, const T *weights, const int64_t *experts, const T *gate_up, const T *down, T *out, T *pre,
         int64_t *order, int64_t tokens, int64_t chosen, int64_t E, int64_t D, int64_t I, int64_t threads) {
  const int64_t pairs = tokens * chosen;
  std::vector<int64_t> begins(E + 1), groups;  // where an expert's pairs begin in `order`; the experts that have any
  for (int64_t p = 0; p < pairs; ++p) ++begins[experts[p] + 1];
  for (int64_t e = 0; e < E; ++e) {
    if (begins[e + 1]) groups.push_back(e);
    begins[e + 1] += begins[e];
  }
  std::vector<int64_t> next(begins);
  for (int64_t p = 0; p < pairs; ++p) order[next[experts[p]]++] = p;

  std::vector<T> inner(pairs * I);
  std::vector<const T *> rows(pairs), inner_rows(pairs);
  for (int64_t p = 0; p < pairs; ++p) {
    rows[p] = x + order[p] / chosen * D;
    inner_rows[p] = &inner[p * I];
  }
  const auto inners = [&](int64_t begin, int64_t end) {
    const int64_t width = end - begin;
    std::vector<float> gates, ups;
    for (const int64_t e : groups) {
      const int64_t first = begins[e], count = begins[e + 1] - first;
      const T *matrix = gate_up + e * 2 * I * D;
      gates.resize(count * width);
      ups.resize(count * width);
      products(matrix, D, &rows[first], count, begin, end,
               [&](int64_t o, int64_t r, float value) { gates[r * width + o - begin] = value; });
      products(matrix + I * D, D, &rows[first], count, begin, end,
               [&](int64_t o, int64_t r, float value) { ups[r * width + o - begin] = value; });
      for (int64_t r = 0; r < count; ++r) {
        const float weight = widen(weights[order[first + r]]), *gate = &gates[r * width], *up = &ups[r * width];
        T *to = &inner[(first + r) * I + begin], *kept = pre + (first + r) * 2 * I + begin;
        for (int64_t i = 0; i < width; ++i) {
          kept[i] = narrow<T>(gate[i]);
          kept[I + i] = narrow<T>(up[i]);
        }
        gated(gate, up, weight, to, width);
      }
    }
  };
  const auto outs = [&](int64_t begin, int64_t end) {
    const int64_t width = end - begin;
    std::vector<float> sums(tokens * width);
    for (const int64_t e : groups) {
      const int64_t first = begins[e];
      products(down + e * D * I, I, &inner_rows[first], begins[e + 1] - first, begin, end,
               [&](int64_t o, int64_t r, float value) { sums[order[first + r] / chosen * width + o - begin] += value; });
    }
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t i = 0; i < width; ++i) out[t * D + begin + i] = narrow<T>(sums[t * width + i]);
  };
  const int64_t parts = std::clamp<int64_t>(int64_t(groups.size()) * I * D / LEAST, 1, std::min({threads, I, D}));
  parallel(I, parts, 1, [&](int64_t begin, int64_t end, int64_t) { inners(begin, end); });
  parallel(D, parts, 1, [&](int64_t begin, int64_t end, int64_t) { outs(begin, end); });
}

// to[token[r]] += rows[r]
template <class T> void add_rows(const T *rows, const int64_t *token, float *to, int64_t count, int64_t D) {
  for (int64_t r = 0; r < count; ++r)
    for (int64_t i = 0; i < D; ++i) to[token[r] * D + i] += widen(rows[r * D + i]);
}

}  // namespace

// Nothing is done, and 1 returned, where an expert's number is not one.
#define EXPORT(T, NAME)                                                                                            \
  extern "C" int64_t moe_few_##NAME(const T *x, const T *weights, const int64_t *experts, const T *gate_up,       \
                                    const T *down, T *out, T *pre, int64_t *order, int64_t tokens,                \
                                    int64_t chosen, int64_t count, int64_t D, int64_t I, int64_t threads) {       \
    if (!all_below(experts, tokens * chosen, count)) return 1;                                                    \
    few(x, weights, experts, gate_up, down, out, pre, order, tokens, chosen, count, D, I, threads);               \
    return 0;                                                                                                     \
  }                                                                                                               \
  extern "C" void moe_add_rows_##NAME(const T *rows, const int64_t *token, float *to, int64_t count, int64_t D) {  \
    add_rows(rows, token, to, count, D);                                                                           \
  }
EXPORT(float, f32)
EXPORT(bf16, bf16)
