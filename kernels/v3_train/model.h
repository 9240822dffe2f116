// What the trunk is made of, what a pass remembers, and where memory comes from.
#pragma once

#include <cstdlib>
#include <memory>
#include <mutex>
#include <vector>

#include "../gemm.h"
#include "../v3.h"

namespace r1 {

// A layer's tensors in the order of kernels/v3_train/__init__.py; null where a layer has none.
enum Name {
  IN_NORM, QUERY_A, QUERY_NORM, QUERY_B, KV_A, KV_NORM, KV_B, OUT, POST_NORM, GATE, UP, DOWN, ROUTER, BIAS,
  EXPERT_GATE_UP, EXPERT_DOWN, NAMES
};

struct Layer {
  const float *tensor[NAMES];
  const float *onward[NAMES];  // matrices in panels, for x W'
  const float *back[NAMES];    // for y W
  int64_t width;               // of the dense network or the shared experts
};

struct Model {
  int64_t D, layers, H, nope, S, dv, C, Q, V, I;
  Router router;
  double eps, latent_eps, scale;
  const float *embed, *norm;
  std::vector<Layer> layer;

  int64_t dk() const { return nope + S; }
  int64_t own() const { return Q ? Q : H * dk(); }  // the query's share of a token's first projection
  int64_t down() const { return own() + C + S; }
};

struct Segment {
  int64_t start, length, prefix_start, prefix_length;
};

// What one layer keeps of a block's tokens for the backward pass, and uses in the forward pass.
struct LayerState {
  float *x_in, *x_mid;       // residual stream before attention and before the network [n, D]
  float *down;               // query latent (or query), latent and rotary key before norms and turns [n, down]
  float *attended, *lse;     // [n, H dv] and [n, H]
  float *pre;                // gates and ups before the nonlinearity [n, 2 width]
  float *scores, *weights;   // of the router [n, E], of the chosen [n, K]
  float *expert_pre;         // of the pairs, expert by expert [n K, 2 I]
  int *chosen;               // [n, K]
};

// Whole groups of a prompt and its completions, together some hundred tokens: activations stay in the cache.
struct Block {
  int64_t first, count;            // tokens
  std::vector<Segment> segments;   // starts count from `first`
  std::vector<LayerState> layers;
  float *last;                     // residual stream before the final norm
};

// Memory handed out piece by piece and given back as a whole. Arenas are kept for the next pass: fresh pages from the
// system cost more than the arithmetic on them.
class Arena {
 public:
  explicit Arena(int64_t floats) : capacity_(floats) {
    base_ = static_cast<float *>(std::aligned_alloc(64, (floats * sizeof(float) + 63) / 64 * 64));
  }
  ~Arena() { std::free(base_); }
  Arena(const Arena &) = delete;
  float *take(int64_t floats) {
    float *out = base_ + used_;
    used_ += rounded(floats);
    return out;
  }
  void rewind() { used_ = 0; }
  int64_t capacity() const { return capacity_; }
  bool valid() const { return base_ != nullptr; }
  static int64_t rounded(int64_t floats) { return (floats + 15) / 16 * 16; }

 private:
  float *base_;
  int64_t capacity_, used_ = 0;
};

class Pool {
 public:
  std::unique_ptr<Arena> borrow(int64_t floats) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      size_t best = arenas_.size();
      for (size_t i = 0; i < arenas_.size(); ++i)
        if (arenas_[i]->capacity() >= floats && (best == arenas_.size() || arenas_[i]->capacity() < arenas_[best]->capacity()))
          best = i;
      if (best < arenas_.size() && arenas_[best]->capacity() <= 2 * floats + (1 << 20)) {
        std::unique_ptr<Arena> found = std::move(arenas_[best]);
        arenas_.erase(arenas_.begin() + best);
        found->rewind();
        return found;
      }
      if (arenas_.size() >= KEPT) arenas_.erase(arenas_.begin());
    }
    return std::make_unique<Arena>(floats + floats / 8);
  }
  void give_back(std::unique_ptr<Arena> arena) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (arenas_.size() < KEPT) arenas_.push_back(std::move(arena));
  }

 private:
  static constexpr size_t KEPT = 8;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Arena>> arenas_;
};

inline int64_t state_floats(const Model &m, int64_t n) {
  int64_t total = Arena::rounded(n * m.D);
  for (const Layer &l : m.layer) {
    total += 2 * Arena::rounded(n * m.D) + Arena::rounded(n * m.down()) + Arena::rounded(n * m.H * m.dv) +
             Arena::rounded(n * m.H) + Arena::rounded(n * 2 * l.width);
    if (l.tensor[ROUTER])
      total += Arena::rounded(n * m.router.experts) + 2 * Arena::rounded(n * m.router.chosen) +
               Arena::rounded(n * m.router.chosen * 2 * m.I);
  }
  return total;
}

inline void take_state(const Model &m, Block &b, Arena &arena) {
  const int64_t n = b.count;
  b.layers.resize(m.layers);
  for (int64_t i = 0; i < m.layers; ++i) {
    LayerState &s = b.layers[i];
    s.x_in = arena.take(n * m.D);
    s.x_mid = arena.take(n * m.D);
    s.down = arena.take(n * m.down());
    s.attended = arena.take(n * m.H * m.dv);
    s.lse = arena.take(n * m.H);
    s.pre = arena.take(n * 2 * m.layer[i].width);
    if (m.layer[i].tensor[ROUTER]) {
      s.scores = arena.take(n * m.router.experts);
      s.weights = arena.take(n * m.router.chosen);
      s.chosen = reinterpret_cast<int *>(arena.take(n * m.router.chosen));
      s.expert_pre = arena.take(n * m.router.chosen * 2 * m.I);
    }
  }
  b.last = arena.take(n * m.D);
}

// The (token, place) pairs of a block, expert by expert.
struct Pairs {
  std::vector<int> begin, token, place;
  Pairs(const int *chosen, int64_t n, const Router &router) : begin(router.experts + 1), token(n * router.chosen), place(n * router.chosen) {
    const int K = int(router.chosen);
    for (int64_t i = 0; i < n * K; ++i) ++begin[chosen[i] + 1];
    for (int64_t e = 0; e < router.experts; ++e) begin[e + 1] += begin[e];
    std::vector<int> next(begin.begin(), begin.end() - 1);
    for (int t = 0; t < n; ++t)
      for (int k = 0; k < K; ++k) {
        const int at = next[chosen[t * K + k]]++;
        token[at] = t;
        place[at] = k;
      }
  }
};

}  // namespace r1
