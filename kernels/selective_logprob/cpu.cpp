// What a part of the vocabulary adds to a softmax, and its gradient, a row of logits at a time.
// Specification: kernels/selective_logprob/chunked.py.

#include <cmath>

#include "../parallel.h"

using namespace r1;

namespace {

constexpr int64_t LEAST = 1 << 14;  // logits that pay for a thread
constexpr int64_t BLOCK = 1024;     // logits summed in float
constexpr float NOTHING = -104;     // exp of it is 0 in float

template <class T>
void absorb(const T *logits, const int64_t *targets, double *state, int64_t rows, int64_t width, int64_t first,
            double temperature, int64_t threads) {
  const float rate = float(1 / temperature);
  parallel(rows, threads, LEAST / width + 1, [=](int64_t begin, int64_t end, int64_t) {
    for (int64_t r = begin; r < end; ++r) {
      const T *x = logits + r * width;
      double &highest = state[r], &total = state[rows + r], &weighted = state[2 * rows + r];
      float most = widen(x[0]);
      for (int64_t i = 1; i < width; ++i) {
        const float logit = widen(x[i]);
        most = logit > most ? logit : most;
      }
      most *= rate;
      if (first == 0) {
        highest = most;
      } else if (most > highest) {
        const double drop = highest - most, scale = std::exp(drop);
        weighted = scale * (weighted + drop * total);
        total *= scale;
        highest = most;
      }
      const float top = float(highest);
      for (int64_t from = 0; from < width; from += BLOCK) {
        const int64_t to = std::min(from + BLOCK, width);
        float sum = 0, product = 0;
        for (int64_t i = from; i < to; ++i) {
          const float below = std::max(widen(x[i]) * rate - top, NOTHING), share = std::exp(below);
          sum += share;
          product += share * below;
        }
        total += sum;
        weighted += product;
      }
      const int64_t place = targets[r] - first;
      if (place >= 0 && place < width) state[3 * rows + r] = widen(x[place]) * rate;
    }
  });
}

template <class T>
void differentiate(T *logits, const int64_t *targets, const double *normaliser, const float *grad, int64_t rows,
                   int64_t width, int64_t first, double temperature, int64_t threads) {
  const float rate = float(1 / temperature);
  parallel(rows, threads, LEAST / width + 1, [=](int64_t begin, int64_t end, int64_t) {
    for (int64_t r = begin; r < end; ++r) {
      T *x = logits + r * width;
      const float factor = grad[r] * rate, base = float(normaliser[r]);
      const float rest = float(std::exp(base - normaliser[r]));  // what rounding took from the base
      auto softmax = [=](T logit) { return std::exp(std::max(widen(logit) * rate - base, NOTHING)) * rest; };
      const int64_t place = targets[r] - first;
      const bool inside = place >= 0 && place < width;
      const float target = inside ? factor * (1 - softmax(x[place])) : 0;
      for (int64_t i = 0; i < width; ++i) x[i] = narrow<T>(-factor * softmax(x[i]));
      if (inside) x[place] = narrow<T>(target);
    }
  });
}

}  // namespace

#define EXPORT(T, NAME)                                                                                            \
  extern "C" void selective_logprob_absorb_##NAME(const T *logits, const int64_t *targets, double *state,         \
                                                  int64_t rows, int64_t width, int64_t first, double temperature, \
                                                  int64_t threads) {                                              \
    absorb(logits, targets, state, rows, width, first, temperature, threads);                                     \
  }                                                                                                               \
  extern "C" void selective_logprob_differentiate_##NAME(T *logits, const int64_t *targets,                       \
                                                         const double *normaliser, const float *grad,             \
                                                         int64_t rows, int64_t width, int64_t first,              \
                                                         double temperature, int64_t threads) {                   \
    differentiate(logits, targets, normaliser, grad, rows, width, first, temperature, threads);                   \
  }
EXPORT(float, f32)
EXPORT(bf16, bf16)
