// Pieces of a DeepSeek-V3 layer that decoding and training share.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "parallel.h"

namespace r1 {

constexpr int MAX_EXPERTS = 1024;

struct Router {
  int64_t experts, chosen, groups, chosen_groups;
  bool softmax, normalise, corrected;
  double scaling;
};

inline void rms_norm(const float *x, const float *weight, float *out, int64_t n, double eps) {
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i] * x[i];
  const float scale = 1.0f / std::sqrt(sum / n + float(eps));
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] * scale * weight[i];
}

// Turns neighbouring pairs by the angles of one position: cosine and sine of each pair, n numbers.
inline void rotate(float *x, const float *turns, int64_t n) {
  for (int64_t i = 0; i < n; i += 2) {
    const float re = x[i] * turns[i] - x[i + 1] * turns[i + 1];
    x[i + 1] = x[i] * turns[i + 1] + x[i + 1] * turns[i];
    x[i] = re;
  }
}

inline void add(float *x, const float *y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] += y[i];
}

// Router logits of one token to scores, in place.
inline void score(const Router &router, float *scores) {
  const int64_t E = router.experts;
  if (router.softmax) {
    const float highest = *std::max_element(scores, scores + E);
    float sum = 0;
    for (int64_t e = 0; e < E; ++e) sum += scores[e] = std::exp(scores[e] - highest);
    for (int64_t e = 0; e < E; ++e) scores[e] /= sum;
  } else {
    for (int64_t e = 0; e < E; ++e) scores[e] = sigmoid(scores[e]);
  }
}

// Chooses the experts of one token from its scores; writes their numbers and weights. bias may be null.
inline void choose(const Router &router, const float *scores, const float *bias, int *experts, float *weights) {
  const int64_t E = router.experts;
  float choice[MAX_EXPERTS];
  for (int64_t e = 0; e < E; ++e) choice[e] = scores[e] + (bias ? bias[e] : 0.0f);
  const float lowest = -3e38f;
  if (router.chosen_groups < router.groups) {
    const int64_t size = E / router.groups;
    float merit[MAX_EXPERTS];
    for (int64_t g = 0; g < router.groups; ++g) {
      float best = lowest, second = lowest;
      for (int64_t e = g * size; e < (g + 1) * size; ++e) {
        if (choice[e] > best) { second = best; best = choice[e]; }
        else if (choice[e] > second) second = choice[e];
      }
      merit[g] = router.corrected ? best + second : best;
    }
    bool kept[MAX_EXPERTS] = {};
    for (int64_t i = 0; i < router.chosen_groups; ++i) {
      int64_t best = -1;
      for (int64_t g = 0; g < router.groups; ++g)
        if (!kept[g] && (best < 0 || merit[g] > merit[best])) best = g;
      kept[best] = true;
    }
    for (int64_t e = 0; e < E; ++e)
      if (!kept[e / size]) choice[e] = lowest;
  }
  float sum = 0;
  bool taken[MAX_EXPERTS] = {};
  for (int64_t k = 0; k < router.chosen; ++k) {
    // Never the same expert twice, whatever the scores are, NaN included: callers count on it.
    int64_t best = -1;
    for (int64_t e = 0; e < E; ++e)
      if (!taken[e] && (best < 0 || choice[e] > choice[best])) best = e;
    taken[best] = true;
    experts[k] = int(best);
    weights[k] = scores[best];
    sum += scores[best];
  }
  const float factor = float(router.scaling) / (router.normalise ? sum + 1e-20f : 1.0f);
  for (int64_t k = 0; k < router.chosen; ++k) weights[k] *= factor;
}

}  // namespace r1
