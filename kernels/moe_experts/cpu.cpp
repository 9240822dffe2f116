// Routed experts for a few tokens: an expert's matrices are read once, for all the rows that chose it.
// Specification: kernels/moe_experts/ref.py. Matrices are torch's: gate_up [E, 2I, D], down [E, D, I].

#include <cmath>

#include "../parallel.h"

using namespace r1;

namespace {

constexpr int TOGETHER = 8;  // rows of one expert that share a pass over its matrices

// out[r][o] = matrix[o] · rows[r] for o in [begin, end); rows are floats, `stride` apart.
template <class T, int R>
void dots(const T *matrix, int64_t width, const float *rows, int64_t stride, float *out, int64_t out_stride,
          int64_t begin, int64_t end) {
  for (int64_t o = begin; o < end; ++o) {
    const T *weights = matrix + o * width;
    float sum[R] = {};
    for (int64_t i = 0; i < width; ++i) {
      const float w = widen(weights[i]);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) sum[r] += w * rows[r * stride + i];
    }
    for (int r = 0; r < R; ++r) out[r * out_stride + o] = sum[r];
  }
}

template <class T>
void products(const T *matrix, int64_t width, const float *rows, int64_t count, float *out, int64_t outputs) {
  while (count > 0) {
    const int64_t now = std::min<int64_t>(count, TOGETHER);
    switch (now) {
      case 1: dots<T, 1>(matrix, width, rows, width, out, outputs, 0, outputs); break;
      case 2: dots<T, 2>(matrix, width, rows, width, out, outputs, 0, outputs); break;
      case 3: dots<T, 3>(matrix, width, rows, width, out, outputs, 0, outputs); break;
      case 4: dots<T, 4>(matrix, width, rows, width, out, outputs, 0, outputs); break;
      case 5: dots<T, 5>(matrix, width, rows, width, out, outputs, 0, outputs); break;
      case 6: dots<T, 6>(matrix, width, rows, width, out, outputs, 0, outputs); break;
      case 7: dots<T, 7>(matrix, width, rows, width, out, outputs, 0, outputs); break;
      default: dots<T, 8>(matrix, width, rows, width, out, outputs, 0, outputs);
    }
    rows += now * width;
    out += now * outputs;
    count -= now;
  }
}

template <class T>
void few(const T *x, const T *weights, const int64_t *experts, const int64_t *order, const T *gate_up, const T *down,
         T *out, T *pre, int64_t tokens, int64_t chosen, int64_t D, int64_t I, int64_t threads) {
  const int64_t pairs = tokens * chosen;
  std::vector<int64_t> starts;  // where a new expert begins among the sorted pairs
  for (int64_t p = 0; p < pairs; ++p)
    if (!p || experts[order[p]] != experts[order[p - 1]]) starts.push_back(p);
  starts.push_back(pairs);
  const int64_t groups = int64_t(starts.size()) - 1;
  std::vector<float> results(pairs * D);
  parallel(groups, threads, 1, [&](int64_t begin, int64_t end, int64_t) {
    std::vector<float> rows, wide, inner;
    for (int64_t g = begin; g < end; ++g) {
      const int64_t first = starts[g], count = starts[g + 1] - first, expert = experts[order[first]];
      rows.resize(count * D);
      wide.resize(count * 2 * I);
      inner.resize(count * I);
      for (int64_t r = 0; r < count; ++r) {
        const T *row = x + order[first + r] / chosen * D;
        for (int64_t i = 0; i < D; ++i) rows[r * D + i] = widen(row[i]);
      }
      products(gate_up + expert * 2 * I * D, D, rows.data(), count, wide.data(), 2 * I);
      for (int64_t r = 0; r < count; ++r) {
        const float weight = widen(weights[order[first + r]]), *gate = &wide[r * 2 * I], *up = gate + I;
        for (int64_t i = 0; i < I; ++i) inner[r * I + i] = gate[i] * sigmoid(gate[i]) * up[i] * weight;
        for (int64_t i = 0; i < 2 * I; ++i) pre[(first + r) * 2 * I + i] = narrow<T>(gate[i]);
      }
      products(down + expert * D * I, I, inner.data(), count, &results[first * D], D);
    }
  });
  std::vector<int64_t> place(pairs);
  for (int64_t p = 0; p < pairs; ++p) place[order[p]] = p;
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t i = 0; i < D; ++i) {
      float sum = 0;
      for (int64_t k = 0; k < chosen; ++k) sum += results[place[t * chosen + k] * D + i];
      out[t * D + i] = narrow<T>(sum);
    }
}

}  // namespace

#define EXPORT(T, NAME)                                                                                            \
  extern "C" void moe_few_##NAME(const T *x, const T *weights, const int64_t *experts, const int64_t *order,      \
                                 const T *gate_up, const T *down, T *out, T *pre, int64_t tokens, int64_t chosen, \
                                 int64_t D, int64_t I, int64_t threads) {                                         \
    few(x, weights, experts, order, gate_up, down, out, pre, tokens, chosen, D, I, threads);                      \
  }
EXPORT(float, f32)
EXPORT(bf16, bf16)
