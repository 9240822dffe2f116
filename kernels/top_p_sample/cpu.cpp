// Drawing tokens without sorting the vocabulary. Specification: kernels/top_p_sample/ref.py.
//
// Only tokens that a cut can leave are sorted. For top-p these are found by one comparison: tokens below
// (1 - top_p) / V of the mass hold less than 1 - top_p even all together, so the nucleus is among the others. On peaked
// logits those are few; on flat ones they are all, and a radix sort takes them.

#include <cmath>
#include <functional>
#include <limits>

#include "../parallel.h"

using namespace r1;

namespace {

constexpr int64_t BLOCK = 1024;  // tokens whose mass is summed in float
constexpr int64_t STRETCH = 64;  // tokens that are passed over together
constexpr int64_t FEW = 1024;    // up to so many are sorted by comparison
constexpr int DIGIT = 11;        // bits a pass of the radix sort
constexpr float NOTHING = -104;  // exp of it is 0 in float
constexpr float COLDEST = 1.2e-38f;  // the inverse of a smaller temperature may be infinite

struct Params {
  double uniform;
  float temperature;
  int64_t top_k;
  double top_p, min_p;
};

struct Buffers {
  std::vector<float> logits, weights;
  std::vector<double> shares;
  std::vector<uint64_t> keys, spare;
  std::vector<char> marks;
};

// Keys rise where logits fall and, among equal ones, where ids rise.
inline uint64_t key_of(float x, uint64_t id) {
  uint32_t bits = word_of(x);
  if (bits == 0x80000000u) bits = 0;  // -0 equals 0
  const uint32_t rising = bits >> 31 ? ~bits : bits | 0x80000000u;
  return uint64_t(~rising) << 32 | id;
}

inline int64_t id_of(uint64_t key) { return int64_t(key & 0xffffffffu); }

inline float weigh(float x, float highest, float rate) { return std::exp(std::max((x - highest) * rate, NOTHING)); }

// Returns the highest, and whether the logits have a softmax: none is NaN or +inf, not all are -inf.
template <class T> float widen_all(const T *logits, float *x, int64_t size, bool &proper) {
  float highest = widen(logits[0]);
  uint32_t largest = 0;  // of their magnitudes
  for (int64_t i = 0; i < size; ++i) {
    const float logit = widen(logits[i]);
    x[i] = logit;
    highest = logit > highest ? logit : highest;
    largest = std::max(largest, word_of(logit) & MAGNITUDE);
  }
  proper = largest <= INFINITE && (word_of(highest) & MAGNITUDE) < INFINITE;
  return highest;
}

// Σ exp((x - highest) rate); writes each block's share.
double sum_weights(const float *x, int64_t size, float highest, float rate, double *shares) {
  double total = 0;
  for (int64_t begin = 0; begin < size; begin += BLOCK) {
    const int64_t end = std::min(begin + BLOCK, size);
    float sum = 0;
    for (int64_t i = begin; i < end; ++i) sum += weigh(x[i], highest, rate);
    shares[begin / BLOCK] = sum;
    total += sum;
  }
  return total;
}

// Calls take(i) for all x[i] >= bound, which take may raise. Mostly there is none in a stretch.
template <class Take> void each_from(const float *x, int64_t size, const float &bound, const Take &take) {
  for (int64_t begin = 0; begin < size; begin += STRETCH) {
    const int64_t end = std::min(begin + STRETCH, size);
    float most = x[begin];
    for (int64_t i = begin; i < end; ++i) most = std::max(most, x[i]);
    if (most < bound) continue;
    for (int64_t i = begin; i < end; ++i)
      if (x[i] >= bound) take(i);
  }
}

// The k-th largest number.
float kth(const float *x, int64_t size, int64_t k, std::vector<float> &best) {
  best.clear();
  float bound = std::numeric_limits<float>::lowest();
  auto shrink = [&] {
    std::nth_element(best.begin(), best.begin() + (k - 1), best.end(), std::greater<float>());
    best.resize(k);
    bound = best[k - 1];
  };
  each_from(x, size, bound, [&](int64_t i) {
    best.push_back(x[i]);
    if (int64_t(best.size()) == 2 * k) shrink();
  });
  if (int64_t(best.size()) >= k) shrink();  // fewer, where others are -inf
  return bound;
}

// Sorts keys whose ids rise already: the logit's half alone decides.
void sort(std::vector<uint64_t> &keys, std::vector<uint64_t> &spare) {
  const int64_t n = int64_t(keys.size());
  if (n <= FEW) return std::sort(keys.begin(), keys.end());
  spare.resize(n);
  for (int shift = 32; shift < 64; shift += DIGIT) {
    int64_t place[1 << DIGIT] = {}, sum = 0;
    auto digit = [shift](uint64_t key) { return key >> shift & ((1 << DIGIT) - 1); };
    for (const uint64_t key : keys) ++place[digit(key)];
    for (int64_t &p : place) {
      const int64_t count = p;
      p = sum;
      sum += count;
    }
    for (const uint64_t key : keys) spare[place[digit(key)]++] = key;
    keys.swap(spare);
  }
}

// By rising id over the whole vocabulary; returns the token and its weight.
int64_t draw_all(const float *x, int64_t size, float highest, float rate, double target, const double *shares,
                 float &weight) {
  double reached = 0;
  int64_t block = 0, token = 0;
  for (const int64_t last = (size - 1) / BLOCK; block < last && reached + shares[block] <= target; ++block)
    reached += shares[block];
  for (int64_t i = block * BLOCK; i < size && reached <= target; ++i) {
    const float w = weigh(x[i], highest, rate);
    if (w <= 0) continue;
    reached += w;
    token = i;
    weight = w;
  }
  return token;
}

// By rising id among the tokens that the cuts leave; writes their mass as well.
int64_t draw_cut(const float *x, int64_t size, float highest, float rate, const Params &p, double total, Buffers &b,
                 float &weight, double &kept) {
  float bound;
  if (p.top_k < size) {
    bound = kth(x, size, p.top_k, b.weights);
  } else {
    // A little lower, as sums and logarithm are rounded.
    const double least = 0.99 * std::max(p.min_p, total * (1 - p.top_p) / double(size));
    bound = float(highest + std::log(std::min(least, 0.99)) / rate);
  }
  b.keys.clear();
  each_from(x, size, bound, [&](int64_t i) { b.keys.push_back(key_of(x[i], i)); });
  sort(b.keys, b.spare);

  const int64_t n = std::min(int64_t(b.keys.size()), p.top_k);  // more, where others equal the k-th
  if (n == 0) return 0;                                         // only where logits are NaN, or all -inf
  b.weights.resize(n);
  float *weights = b.weights.data();
  for (int64_t i = 0; i < n; ++i) weights[i] = x[id_of(b.keys[i])];
  for (int64_t i = 0; i < n; ++i) weights[i] = weigh(weights[i], highest, rate);
  if (p.top_k < size) {
    total = 0;
    for (int64_t i = 0; i < n; ++i) total += weights[i];
  }
  int64_t count = 1;
  kept = weights[0];
  while (count < n && (p.top_p >= 1 || kept < p.top_p * total) && weights[count] >= p.min_p) kept += weights[count++];

  // The ids in order: few are sorted, many are marked.
  b.keys.resize(count);
  for (uint64_t &key : b.keys) key = id_of(key);
  if (count <= FEW) {
    std::sort(b.keys.begin(), b.keys.end());
  } else {
    b.marks.assign(size, 0);
    for (const uint64_t id : b.keys) b.marks[id] = 1;
    b.keys.clear();
    for (int64_t i = 0; i < size; ++i)
      if (b.marks[i]) b.keys.push_back(i);
  }
  double reached = 0;
  int64_t token = 0;
  for (const uint64_t id : b.keys) {
    const float w = weigh(x[id], highest, rate);
    if (w <= 0) continue;
    reached += w;
    token = int64_t(id);
    weight = w;
    if (reached > p.uniform * kept) break;
  }
  return token;
}

template <class T>
void draw(const T *logits, int64_t size, const Params &p, Buffers &b, int64_t *token, float *logprob, float *plain) {
  float *x = b.logits.data();
  bool proper;
  const float highest = widen_all(logits, x, size, proper);

  // The shares that stay are those of the draw's temperature.
  const double all = sum_weights(x, size, highest, 1, b.shares.data());
  if (p.temperature == 0) {
    *token = std::find(x, x + size, highest) - x;
    if (*token == size) *token = 0;  // NaN equals nothing
    *logprob = 0;
  } else {
    const float rate = 1 / std::max(p.temperature, COLDEST);
    const double total = rate == 1 ? all : sum_weights(x, size, highest, rate, b.shares.data());
    double kept = total;
    float weight = 1;
    if (p.top_k < size || p.top_p < 1 || p.min_p > 0)
      *token = draw_cut(x, size, highest, rate, p, total, b, weight, kept);
    else
      *token = draw_all(x, size, highest, rate, p.uniform * total, b.shares.data(), weight);
    *logprob = float(std::log(weight / kept));
  }
  *plain = proper ? float(x[*token] - highest - std::log(all)) : float_of(NOT_A_NUMBER);
}

// A parameter that no row has is null.
template <class T>
void sample(const T *logits, const float *uniform, const float *temperature, const int64_t *top_k, const float *top_p,
            const float *min_p, int64_t *token, float *logprob, float *plain, int64_t rows, int64_t size,
            int64_t threads) {
  parallel(rows, threads, 1, [=](int64_t begin, int64_t end, int64_t) {
    Buffers b;
    b.logits.resize(size);
    b.shares.resize((size + BLOCK - 1) / BLOCK);
    for (int64_t r = begin; r < end; ++r) {
      const Params p = {uniform[r], temperature ? temperature[r] : 1, top_k && top_k[r] > 0 ? top_k[r] : size,
                        top_p ? top_p[r] : 1, min_p ? min_p[r] : 0};
      draw(logits + r * size, size, p, b, token + r, logprob + r, plain + r);
    }
  });
}

}  // namespace

#define EXPORT(T, NAME)                                                                                            \
  extern "C" void top_p_sample_##NAME(const T *logits, const float *uniform, const float *temperature,            \
                                      const int64_t *top_k, const float *top_p, const float *min_p,               \
                                      int64_t *token, float *logprob, float *plain, int64_t rows, int64_t size,   \
                                      int64_t threads) {                                                          \
    sample(logits, uniform, temperature, top_k, top_p, min_p, token, logprob, plain, rows, size, threads);        \
  }
EXPORT(float, f32)
EXPORT(bf16, bf16)
