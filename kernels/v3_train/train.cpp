// The trunk of a small DeepSeek-V3 policy in float32, forward and backward, for packed batches.
//
// Groups of a prompt and its completions are divided among threads, and a thread takes them block by block through the
// whole network and back, so that a block's activations stay in its cache, threads never wait for each other, and each
// adds up gradients of its own. Specification: model.v3.Trunk.forward, with autograd.

#include <thread>

#include "attention.h"
#include "model.h"

using namespace r1;

namespace {

constexpr int64_t BLOCK = 512;  // tokens, about: whole groups

Pool pool;

// grad_x += the gradient through out = rms_norm(x, weight), and grad_weight likewise; rows are apart by ld.
void rms_norm_backward(const float *grad, int64_t ldg, const float *x, int64_t ldx, const float *weight, float *grad_x,
                       int64_t ldo, float *grad_weight, int64_t rows, int64_t n, double eps) {
  for (int64_t r = 0; r < rows; ++r) {
    const float *in = x + r * ldx, *g = grad + r * ldg;
    float *out = grad_x + r * ldo;
    float sum = 0, dot = 0;
    for (int64_t i = 0; i < n; ++i) {
      sum += in[i] * in[i];
      dot += in[i] * g[i] * weight[i];
    }
    const float inverse = 1.0f / std::sqrt(sum / n + float(eps)), share = dot * inverse * inverse * inverse / n;
    for (int64_t i = 0; i < n; ++i) {
      grad_weight[i] += in[i] * g[i] * inverse;
      out[i] += weight[i] * g[i] * inverse - in[i] * share;
    }
  }
}

void rms_norms(const float *x, int64_t ldx, const float *weight, float *out, int64_t ldo, int64_t rows, int64_t n,
               double eps) {
  for (int64_t r = 0; r < rows; ++r) rms_norm(x + r * ldx, weight, out + r * ldo, n, eps);
}

// inner = silu(gate) * up * factor of rows [gate, up]; factor may be null.
void gated(const float *pre, float *inner, int64_t rows, int64_t n, const float *factor) {
  for (int64_t r = 0; r < rows; ++r) {
    const float *gate = pre + r * 2 * n, *up = gate + n, f = factor ? factor[r] : 1.0f;
    for (int64_t i = 0; i < n; ++i) inner[r * n + i] = gate[i] * sigmoid(gate[i]) * up[i] * f;
  }
}

// From the gradient of `gated`'s result: `grad_pre` for [gate, up], and each factor's own.
void gated_backward(const float *grad, const float *pre, float *grad_pre, int64_t rows, int64_t n, const float *factor,
                    float *grad_factor) {
  for (int64_t r = 0; r < rows; ++r) {
    const float *gate = pre + r * 2 * n, *up = gate + n, *g = grad + r * n, f = factor ? factor[r] : 1.0f;
    float *dg = grad_pre + r * 2 * n, *du = dg + n, along = 0;
    for (int64_t i = 0; i < n; ++i) {
      const float s = sigmoid(gate[i]), silu = gate[i] * s;
      along += g[i] * silu * up[i];
      dg[i] = g[i] * f * up[i] * s * (1.0f + gate[i] * (1.0f - s));
      du[i] = g[i] * f * silu;
    }
    if (grad_factor) grad_factor[r] = along;
  }
}

void rotate_back(float *x, const float *turns, int64_t n) {
  for (int64_t i = 0; i < n; i += 2) {
    const float re = x[i] * turns[i] + x[i + 1] * turns[i + 1];
    x[i + 1] = x[i + 1] * turns[i] - x[i] * turns[i + 1];
    x[i] = re;
  }
}

// Buffers that one block after the other uses.
struct Scratch {
  std::vector<float> normed, latent, q, kv, k_rope, inner, scores, gathered, added, factors;
  std::vector<float> grad_x, grad_normed, grad_q, grad_kv, grad_k_rope, grad_attended, grad_down, grad_latent, grad_pre,
      grad_inner, grad_factors, grad_weights, grad_scores;
};

float *sized(std::vector<float> &v, int64_t n) {
  if (int64_t(v.size()) < n) v.resize(n);
  return v.data();
}

// Queries, keys' and values' expansion and the shared key of a block, all turned, from the first projections.
void expand(const Model &m, const Layer &l, const Block &b, const LayerState &s, const float *turns, Scratch &w) {
  const int64_t n = b.count, down = m.down(), own = m.own(), heads = m.H * m.dk(), wide = m.H * (m.nope + m.dv);
  float *q = sized(w.q, n * heads), *kv = sized(w.kv, n * wide), *k_rope = sized(w.k_rope, n * m.S);
  float *latent = sized(w.latent, n * std::max(m.C, own));
  if (m.Q) {
    rms_norms(s.down, down, l.tensor[QUERY_NORM], latent, own, n, own, m.latent_eps);
    product(latent, own, l.onward[QUERY_B], q, heads, n, heads, own);
  } else {
    for (int64_t t = 0; t < n; ++t) std::memcpy(q + t * heads, s.down + t * down, heads * sizeof(float));
  }
  rms_norms(s.down + own, down, l.tensor[KV_NORM], latent, m.C, n, m.C, m.latent_eps);
  product(latent, m.C, l.onward[KV_B], kv, wide, n, wide, m.C);
  for (int64_t t = 0; t < n; ++t) {
    const float *turn = turns + t * m.S;
    for (int64_t h = 0; h < m.H; ++h) rotate(q + t * heads + h * m.dk() + m.nope, turn, m.S);
    std::memcpy(k_rope + t * m.S, s.down + t * down + own + m.C, m.S * sizeof(float));
    rotate(k_rope + t * m.S, turn, m.S);
  }
}

void forward(const Model &m, Block &b, const int64_t *tokens, const float *all_turns, float *hidden, Scratch &w) {
  const int64_t n = b.count, D = m.D, down = m.down(), own = m.own(), K = m.router.chosen, I = m.I;
  const float *turns = all_turns + b.first * m.S;
  float *normed = sized(w.normed, n * D), *x = b.layers[0].x_in;
  for (int64_t t = 0; t < n; ++t) std::memcpy(x + t * D, m.embed + tokens[b.first + t] * D, D * sizeof(float));
  for (int64_t i = 0; i < m.layers; ++i) {
    const Layer &l = m.layer[i];
    LayerState &s = b.layers[i];
    float *next = i + 1 < m.layers ? b.layers[i + 1].x_in : b.last;
    rms_norms(x, D, l.tensor[IN_NORM], normed, D, n, D, m.eps);
    product(normed, D, l.onward[QUERY_A], s.down, down, n, own, D);
    product(normed, D, l.onward[KV_A], s.down + own, down, n, m.C + m.S, D);
    expand(m, l, b, s, turns, w);
    attention_forward(m, b, w.q.data(), w.kv.data(), w.k_rope.data(), s.attended, s.lse, w.scores);
    std::memcpy(s.x_mid, x, n * D * sizeof(float));
    product<true>(s.attended, m.H * m.dv, l.onward[OUT], s.x_mid, D, n, D, m.H * m.dv);

    const int64_t F = l.width;
    float *inner = sized(w.inner, std::max(n * F, n * K * I));
    rms_norms(s.x_mid, D, l.tensor[POST_NORM], normed, D, n, D, m.eps);
    product(normed, D, l.onward[GATE], s.pre, 2 * F, n, F, D);
    product(normed, D, l.onward[UP], s.pre + F, 2 * F, n, F, D);
    gated(s.pre, inner, n, F, nullptr);
    std::memcpy(next, s.x_mid, n * D * sizeof(float));
    product<true>(inner, F, l.onward[DOWN], next, D, n, D, F);
    if (l.tensor[ROUTER]) {
      const int64_t E = m.router.experts;
      product(normed, D, l.onward[ROUTER], s.scores, E, n, E, D);
      for (int64_t t = 0; t < n; ++t) {
        score(m.router, s.scores + t * E);
        choose(m.router, s.scores + t * E, l.tensor[BIAS], s.chosen + t * K, s.weights + t * K);
      }
      const Pairs pairs(s.chosen, n, m.router);
      float *gathered = sized(w.gathered, n * D), *added = sized(w.added, n * D), *factors = sized(w.factors, n * K);
      for (int64_t e = 0; e < E; ++e) {
        const int64_t begin = pairs.begin[e], count = pairs.begin[e + 1] - begin;
        for (int64_t p = 0; p < count; ++p) {
          const int64_t t = pairs.token[begin + p];
          std::memcpy(gathered + p * D, normed + t * D, D * sizeof(float));
          factors[p] = s.weights[t * K + pairs.place[begin + p]];
        }
        float *pre = s.expert_pre + begin * 2 * I;
        product(gathered, D, l.onward[EXPERT_GATE_UP] + e * panels_size(D, 2 * I), pre, 2 * I, count, 2 * I, D);
        gated(pre, inner, count, I, factors);
        product(inner, I, l.onward[EXPERT_DOWN] + e * panels_size(I, D), added, D, count, D, I);
        for (int64_t p = 0; p < count; ++p) add(next + pairs.token[begin + p] * D, added + p * D, D);
      }
    }
    x = next;
  }
  rms_norms(b.last, D, m.norm, hidden + b.first * D, D, n, D, m.eps);
}

// Gradients of one layer's tensors in the order of Name.
using Grads = std::vector<float *>;

void experts_backward(const Model &m, const Layer &l, const Block &b, const LayerState &s, const Grads &grads,
                      Scratch &w) {
  const int64_t n = b.count, D = m.D, K = m.router.chosen, I = m.I, E = m.router.experts;
  const Pairs pairs(s.chosen, n, m.router);
  float *gathered = sized(w.gathered, n * D), *added = sized(w.added, n * D), *factors = sized(w.factors, n * K);
  float *inner = sized(w.inner, n * K * I), *grad_inner = sized(w.grad_inner, n * K * I);
  float *grad_pre = sized(w.grad_pre, n * K * 2 * I), *grad_factors = sized(w.grad_factors, n * K);
  float *grad_weights = sized(w.grad_weights, n * K), *grad_scores = sized(w.grad_scores, n * E);
  const float *normed = w.normed.data(), *grad_x = w.grad_x.data();
  float *grad_normed = w.grad_normed.data();
  for (int64_t e = 0; e < E; ++e) {
    const int64_t begin = pairs.begin[e], count = pairs.begin[e + 1] - begin;
    if (!count) continue;
    for (int64_t p = 0; p < count; ++p) {
      const int64_t t = pairs.token[begin + p];
      std::memcpy(gathered + p * D, grad_x + t * D, D * sizeof(float));
      factors[p] = s.weights[t * K + pairs.place[begin + p]];
    }
    const float *pre = s.expert_pre + begin * 2 * I;
    gated(pre, inner, count, I, factors);
    outer(gathered, D, inner, I, grads[EXPERT_DOWN] + e * D * I, I, count, D, I);
    product(gathered, D, l.back[EXPERT_DOWN] + e * panels_size(D, I), grad_inner, I, count, I, D);
    gated_backward(grad_inner, pre, grad_pre, count, I, factors, grad_factors);
    for (int64_t p = 0; p < count; ++p) {
      const int64_t t = pairs.token[begin + p];
      std::memcpy(gathered + p * D, normed + t * D, D * sizeof(float));
      grad_weights[t * K + pairs.place[begin + p]] = grad_factors[p];
    }
    outer(grad_pre, 2 * I, gathered, D, grads[EXPERT_GATE_UP] + e * 2 * I * D, D, count, 2 * I, D);
    product(grad_pre, 2 * I, l.back[EXPERT_GATE_UP] + e * panels_size(2 * I, D), added, D, count, D, 2 * I);
    for (int64_t p = 0; p < count; ++p) add(grad_normed + pairs.token[begin + p] * D, added + p * D, D);
  }
  const float scaling = float(m.router.scaling);
  for (int64_t t = 0; t < n; ++t) {
    const float *scores = s.scores + t * E;
    const int *chosen = s.chosen + t * K;
    float *g = grad_scores + t * E, *gw = grad_weights + t * K, sum = 1e-20f, along = 0;
    for (int64_t k = 0; k < K; ++k) {
      sum += scores[chosen[k]];
      along += gw[k] * scores[chosen[k]];
    }
    for (int64_t e = 0; e < E; ++e) g[e] = 0;
    for (int64_t k = 0; k < K; ++k)
      g[chosen[k]] = m.router.normalise ? scaling / sum * (gw[k] - along / sum) : scaling * gw[k];
    if (m.router.softmax) {
      float dot = 0;
      for (int64_t e = 0; e < E; ++e) dot += g[e] * scores[e];
      for (int64_t e = 0; e < E; ++e) g[e] = scores[e] * (g[e] - dot);
    } else {
      for (int64_t e = 0; e < E; ++e) g[e] *= scores[e] * (1.0f - scores[e]);
    }
  }
  outer(grad_scores, E, normed, D, grads[ROUTER], D, n, E, D);
  product<true>(grad_scores, E, l.back[ROUTER], grad_normed, D, n, D, E);
}

void network_backward(const Model &m, const Layer &l, const Block &b, const LayerState &s, const Grads &grads,
                      Scratch &w) {
  const int64_t n = b.count, D = m.D, F = l.width;
  float *normed = sized(w.normed, n * D), *inner = sized(w.inner, n * F), *grad_inner = sized(w.grad_inner, n * F);
  float *grad_pre = sized(w.grad_pre, n * 2 * F), *grad_normed = sized(w.grad_normed, n * D), *grad_x = w.grad_x.data();
  rms_norms(s.x_mid, D, l.tensor[POST_NORM], normed, D, n, D, m.eps);
  gated(s.pre, inner, n, F, nullptr);
  outer(grad_x, D, inner, F, grads[DOWN], F, n, D, F);
  product(grad_x, D, l.back[DOWN], grad_inner, F, n, F, D);
  gated_backward(grad_inner, s.pre, grad_pre, n, F, nullptr, nullptr);
  outer(grad_pre, 2 * F, normed, D, grads[GATE], D, n, F, D);
  outer(grad_pre + F, 2 * F, normed, D, grads[UP], D, n, F, D);
  product(grad_pre, 2 * F, l.back[GATE], grad_normed, D, n, D, F);
  product<true>(grad_pre + F, 2 * F, l.back[UP], grad_normed, D, n, D, F);
  if (l.tensor[ROUTER]) experts_backward(m, l, b, s, grads, w);
  rms_norm_backward(grad_normed, D, s.x_mid, D, l.tensor[POST_NORM], grad_x, D, grads[POST_NORM], n, D, m.eps);
}

void attention_layer_backward(const Model &m, const Layer &l, const Block &b, const LayerState &s, const float *turns,
                              const Grads &grads, Scratch &w) {
  const int64_t n = b.count, D = m.D, down = m.down(), own = m.own(), C = m.C, S = m.S;
  const int64_t heads = m.H * m.dk(), wide = m.H * (m.nope + m.dv), values = m.H * m.dv;
  float *grad_x = w.grad_x.data(), *normed = sized(w.normed, n * D), *grad_normed = sized(w.grad_normed, n * D);
  float *grad_attended = sized(w.grad_attended, n * values), *grad_q = sized(w.grad_q, n * heads);
  float *grad_kv = sized(w.grad_kv, n * wide), *grad_k_rope = sized(w.grad_k_rope, n * S);
  float *grad_down = sized(w.grad_down, n * down), *grad_latent = sized(w.grad_latent, n * std::max(own, C));
  expand(m, l, b, s, turns, w);
  outer(grad_x, D, s.attended, values, grads[OUT], values, n, D, values);
  product(grad_x, D, l.back[OUT], grad_attended, values, n, values, D);
  std::fill(grad_kv, grad_kv + n * wide, 0.0f);
  std::fill(grad_k_rope, grad_k_rope + n * S, 0.0f);
  attention_backward(m, b, w.q.data(), w.kv.data(), w.k_rope.data(), s.attended, s.lse, grad_attended, grad_q, grad_kv,
                     grad_k_rope);
  std::fill(grad_down, grad_down + n * down, 0.0f);
  for (int64_t t = 0; t < n; ++t) {
    const float *turn = turns + t * S;
    for (int64_t h = 0; h < m.H; ++h) rotate_back(grad_q + t * heads + h * m.dk() + m.nope, turn, S);
    rotate_back(grad_k_rope + t * S, turn, S);
    std::memcpy(grad_down + t * down + own + C, grad_k_rope + t * S, S * sizeof(float));
  }
  // `expand` has left the latent's norm in w.latent.
  outer(grad_kv, wide, w.latent.data(), C, grads[KV_B], C, n, wide, C);
  product(grad_kv, wide, l.back[KV_B], grad_latent, C, n, C, wide);
  rms_norm_backward(grad_latent, C, s.down + own, down, l.tensor[KV_NORM], grad_down + own, down, grads[KV_NORM], n, C,
                    m.latent_eps);
  if (m.Q) {
    rms_norms(s.down, down, l.tensor[QUERY_NORM], w.latent.data(), own, n, own, m.latent_eps);
    outer(grad_q, heads, w.latent.data(), own, grads[QUERY_B], own, n, heads, own);
    product(grad_q, heads, l.back[QUERY_B], grad_latent, own, n, own, heads);
    rms_norm_backward(grad_latent, own, s.down, down, l.tensor[QUERY_NORM], grad_down, down, grads[QUERY_NORM], n, own,
                      m.latent_eps);
  } else {
    for (int64_t t = 0; t < n; ++t) std::memcpy(grad_down + t * down, grad_q + t * heads, heads * sizeof(float));
  }
  rms_norms(s.x_in, D, l.tensor[IN_NORM], normed, D, n, D, m.eps);
  outer(grad_down, down, normed, D, grads[QUERY_A], D, n, own, D);
  outer(grad_down + own, down, normed, D, grads[KV_A], D, n, C + S, D);
  product(grad_down, down, l.back[QUERY_A], grad_normed, D, n, D, own);
  product<true>(grad_down + own, down, l.back[KV_A], grad_normed, D, n, D, C + S);
  rms_norm_backward(grad_normed, D, s.x_in, D, l.tensor[IN_NORM], grad_x, D, grads[IN_NORM], n, D, m.eps);
}

void backward(const Model &m, const Block &b, const int64_t *tokens, const float *all_turns, const float *grad_hidden,
              const std::vector<Grads> &grads, float *grad_embed, float *grad_norm, Scratch &w) {
  const int64_t n = b.count, D = m.D;
  float *grad_x = sized(w.grad_x, n * D);
  std::fill(grad_x, grad_x + n * D, 0.0f);
  rms_norm_backward(grad_hidden + b.first * D, D, b.last, D, m.norm, grad_x, D, grad_norm, n, D, m.eps);
  for (int64_t i = m.layers - 1; i >= 0; --i) {
    network_backward(m, m.layer[i], b, b.layers[i], grads[i], w);
    attention_layer_backward(m, m.layer[i], b, b.layers[i], all_turns + b.first * m.S, grads[i], w);
  }
  for (int64_t t = 0; t < n; ++t) add(grad_embed + tokens[b.first + t] * D, grad_x + t * D, D);
}

// One pass over a batch: the arranged weights, and what the backward pass needs.
struct Pass {
  Model model;
  int64_t threads;
  std::vector<std::vector<Block>> blocks;  // by thread
  std::vector<std::unique_ptr<Arena>> arenas;
};

struct Size {
  int64_t rows, columns, count;
};

// A layer's matrix: [count][rows = outputs][columns = inputs]; norms and the bias are one row.
Size size_of(const Model &m, const Layer &l, int name) {
  const int64_t heads = m.H * m.dk(), wide = m.H * (m.nope + m.dv), E = m.router.experts;
  switch (name) {
    case QUERY_A: return {m.own(), m.D, 1};
    case QUERY_B: return {heads, m.Q, 1};
    case KV_A: return {m.C + m.S, m.D, 1};
    case KV_B: return {wide, m.C, 1};
    case OUT: return {m.D, m.H * m.dv, 1};
    case GATE:
    case UP: return {l.width, m.D, 1};
    case DOWN: return {m.D, l.width, 1};
    case ROUTER: return {E, m.D, 1};
    case EXPERT_GATE_UP: return {2 * m.I, m.D, E};
    case EXPERT_DOWN: return {m.D, m.I, E};
    case QUERY_NORM: return {1, m.Q, 1};
    case KV_NORM: return {1, m.C, 1};
    default: return {1, m.D, 1};
  }
}

bool is_matrix(int name) {
  return name != IN_NORM && name != QUERY_NORM && name != KV_NORM && name != POST_NORM && name != BIAS;
}

// Calls work(i) for i in [0, count) on `threads` threads, i going round.
template <class Work> void share(int64_t count, int64_t threads, const Work &work) {
  in_threads(threads, [&](int64_t part) {
    for (int64_t i = part; i < count; i += threads) work(i);
  });
}

void arrange(Pass &pass, bool keep) {
  Model &m = pass.model;
  int64_t total = 0;
  for (const Layer &l : m.layer)
    for (int name = 0; name < NAMES; ++name)
      if (l.tensor[name] && is_matrix(name)) {
        const Size s = size_of(m, l, name);
        total += Arena::rounded(s.count * panels_size(s.columns, s.rows)) + Arena::rounded(s.count * panels_size(s.rows, s.columns));
      }
  pass.arenas.push_back(pool.borrow(total));
  for (Layer &l : m.layer)
    for (int name = 0; name < NAMES; ++name)
      if (l.tensor[name] && is_matrix(name)) {
        const Size s = size_of(m, l, name);
        l.onward[name] = pass.arenas[0]->take(s.count * panels_size(s.columns, s.rows));
        l.back[name] = pass.arenas[0]->take(s.count * panels_size(s.rows, s.columns));
      }
  share(m.layers * NAMES, pass.threads, [&](int64_t job) {
    const Layer &l = m.layer[job / NAMES];
    const int name = int(job % NAMES);
    if (!l.tensor[name] || !is_matrix(name)) return;
    const Size s = size_of(m, l, name);
    for (int64_t e = 0; e < s.count; ++e) {
      const float *matrix = l.tensor[name] + e * s.rows * s.columns;
      pack(matrix, 1, s.columns, s.columns, s.rows, const_cast<float *>(l.onward[name]) + e * panels_size(s.columns, s.rows));
      if (keep)
        pack(matrix, s.columns, 1, s.rows, s.columns, const_cast<float *>(l.back[name]) + e * panels_size(s.rows, s.columns));
    }
  });
}

// Cuts the batch at the borders of its groups, evenly for the threads, and each thread's part into blocks.
void cut(Pass &pass, const int64_t *segments, int64_t count, int64_t tokens) {
  pass.blocks.resize(pass.threads);
  int64_t part = 0;
  for (int64_t i = 0; i < count;) {
    int64_t end = i + 1;  // a group: a prompt and what continues it
    while (end < count && segments[4 * end + 3] > 0) ++end;
    const int64_t first = segments[4 * i], last = segments[4 * (end - 1)] + segments[4 * (end - 1) + 1];
    while (part + 1 < pass.threads && 2 * first >= tokens * 2 * (part + 1) / pass.threads) ++part;
    std::vector<Block> &own = pass.blocks[part];
    if (own.empty() || own.back().count >= BLOCK) own.push_back(Block{first, 0, {}, {}, nullptr});
    Block &block = own.back();
    block.count = last - block.first;
    for (; i < end; ++i) {
      const int64_t *s = segments + 4 * i;
      block.segments.push_back({s[0] - block.first, s[1], s[2] - block.first, s[3]});
    }
  }
}

Model read_model(const int64_t *dims, const double *constants, void *const *tensors) {
  Model m;
  std::memcpy(&m.D, dims, 10 * sizeof(int64_t));
  m.router = {dims[10], dims[11], dims[12], dims[13], dims[14] != 0, dims[15] != 0, dims[16] != 0, constants[2]};
  m.eps = constants[0];
  m.latent_eps = constants[1];
  m.scale = constants[3];
  m.embed = static_cast<const float *>(tensors[0]);
  m.norm = static_cast<const float *>(tensors[1]);
  m.layer.resize(m.layers);
  for (int64_t i = 0; i < m.layers; ++i) {
    m.layer[i].width = dims[21 + i];
    for (int name = 0; name < NAMES; ++name) m.layer[i].tensor[name] = static_cast<const float *>(tensors[2 + i * NAMES + name]);
  }
  return m;
}

Pass *run_forward(const int64_t *dims, const double *constants, void *const *tensors, const int64_t *tokens,
                  const float *turns, const int64_t *segments, float *hidden) {
  auto pass = std::make_unique<Pass>();
  pass->model = read_model(dims, constants, tensors);
  pass->threads = dims[19];
  const bool keep = dims[20] != 0;
  const Model &m = pass->model;
  arrange(*pass, keep);
  cut(*pass, segments, dims[18], dims[17]);
  for (auto &blocks : pass->blocks) {
    int64_t floats = 0;
    for (const Block &b : blocks) {
      const int64_t own = state_floats(m, b.count);
      floats = keep ? floats + own : std::max(floats, own);
    }
    pass->arenas.push_back(pool.borrow(floats));
  }
  for (auto &arena : pass->arenas)
    if (!arena->valid()) return nullptr;
  share(pass->threads, pass->threads, [&](int64_t part) {
    static thread_local Scratch scratch;
    Arena &arena = *pass->arenas[1 + part];
    for (Block &b : pass->blocks[part]) {
      if (!keep) arena.rewind();
      take_state(m, b, arena);
      forward(m, b, tokens, turns, hidden, scratch);
    }
  });
  return pass.release();
}

// grads: as the tensors, zeroed; null where none is wanted.
void run_backward(Pass &pass, const int64_t *tokens, const float *turns, const float *grad_hidden, void *const *grads) {
  const Model &m = pass.model;
  const int64_t count = 2 + m.layers * NAMES;
  std::vector<int64_t> sizes(count);
  sizes[0] = m.V * m.D;
  sizes[1] = m.D;
  for (int64_t i = 2; i < count; ++i) {
    const Layer &l = m.layer[(i - 2) / NAMES];
    const Size s = size_of(m, l, int((i - 2) % NAMES));
    sizes[i] = grads[i] ? s.rows * s.columns * s.count : 0;
  }
  int64_t total = 0;
  for (int64_t size : sizes) total += Arena::rounded(size);
  std::vector<std::vector<float *>> own(pass.threads, std::vector<float *>(count));
  std::vector<std::unique_ptr<Arena>> borrowed;
  for (int64_t part = 1; part < pass.threads; ++part) {
    borrowed.push_back(pool.borrow(total));
    for (int64_t i = 0; i < count; ++i) own[part][i] = borrowed.back()->take(sizes[i]);
  }
  for (int64_t i = 0; i < count; ++i) own[0][i] = static_cast<float *>(grads[i]);
  share(pass.threads, pass.threads, [&](int64_t part) {
    static thread_local Scratch scratch;
    if (part)
      for (int64_t i = 0; i < count; ++i) std::fill(own[part][i], own[part][i] + sizes[i], 0.0f);
    std::vector<Grads> layers;
    for (int64_t i = 0; i < m.layers; ++i) layers.emplace_back(&own[part][2 + i * NAMES], &own[part][2 + i * NAMES] + NAMES);
    for (const Block &b : pass.blocks[part])
      backward(m, b, tokens, turns, grad_hidden, layers, own[part][0], own[part][1], scratch);
  });
  share(count, pass.threads, [&](int64_t i) {
    for (int64_t part = 1; part < pass.threads; ++part) add(own[0][i], own[part][i], sizes[i]);
  });
  for (auto &arena : borrowed) pool.give_back(std::move(arena));
}

}  // namespace

// See kernels/v3_train/__init__.py for the order of dims, constants and pointers.
extern "C" void *v3_train_forward(const int64_t *dims, const double *constants, void *const *tensors,
                                  const int64_t *tokens, const float *turns, const int64_t *segments, float *hidden) {
  return run_forward(dims, constants, tensors, tokens, turns, segments, hidden);
}

extern "C" void v3_train_backward(void *pass, const int64_t *tokens, const float *turns, const float *grad_hidden,
                                  void *const *grads) {
  run_backward(*static_cast<Pass *>(pass), tokens, turns, grad_hidden, grads);
}

extern "C" void v3_train_free(void *pass) {
  Pass *p = static_cast<Pass *>(pass);
  for (auto &arena : p->arenas) pool.give_back(std::move(arena));
  delete p;
}
