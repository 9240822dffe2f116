// One decoding step of a DeepSeek-V3 policy in float32: a token in, logits out, for many rows at once. Prompts are read
// the same way: their tokens are rows of one place of the cache, in their order, each of which sees those before it.
//
// Rows are divided among threads, and a thread takes them block by block through the whole network, so that a block's
// activations stay in its cache and threads never wait for each other. Attention is absorbed: it happens among the
// cached latents (DeepSeek-V2, arXiv 2405.04434 § 2.1.2). Every row's arithmetic is the same whatever other rows there
// are. Specification: model.engine.native.LatentDecoder.step.
//
// Matrices lie in the panels of kernels/gemm.h, their columns padded by zeros to a multiple of 32.

#include <vector>

#include "../gemm.h"
#include "../v3.h"
#include "attend.h"

using namespace r1;

namespace {

constexpr int BLOCK = 96;  // rows that go through the network together: whole tiles of gemm.h, of 6 rows and of 8
constexpr int PAD = 32;

int padded(int n) { return (n + PAD - 1) / PAD * PAD; }

struct Layer {
  const float *in_norm, *post_norm;
  const float *down, *q_norm, *query, *kv_norm, *out;  // q_norm and query are null without a query latent
  const float *gate_up, *mlp_down;                     // dense network, or the shared experts
  const float *router, *bias;                          // null in a dense layer; bias null without correction
  const float *experts_gate_up, *experts_down;
  float *cache;  // [rows, capacity, C + S]
  int64_t width; // of the dense network or the shared experts
};

struct Model {
  int64_t rows, sparse, capacity, D, layers, H, C, S, Q, V, E, K, I;
  Router router;
  double eps, latent_eps;
  const float *embed, *norm, *head;
  const float *turns;      // [capacity, S / 2, 2]: cosine and sine
  const int64_t *lengths;  // tokens of each row, the newest included
  const int64_t *place;    // where each row's cache begins, in units of `capacity` columns; null: row after row
  const int64_t *answer;   // where each row's logits go, or -1 if none are wanted; null: row after row
  int64_t longest;         // of the lengths
  const Layer *layer;
  int64_t *routes;         // [rows, sparse layers, K], or null
};

// inner [n] = silu(gate) * up * factor; gate and up lie side by side, each padded.
void gated(const float *gate, const float *up, float *inner, int n, float factor) {
  for (int i = 0; i < n; ++i) inner[i] = gate[i] * sigmoid(gate[i]) * up[i] * factor;
}

struct Buffers {
  std::vector<float> x, normed, down, query, attended, wide, inner, out, gathered, router;
  Scratch attend;
};

void attention(const Model &m, const Layer &l, int64_t first, int count, Buffers &b) {
  const int D = int(m.D), Dp = padded(D), H = int(m.H), C = int(m.C), S = int(m.S), W = C + S, Q = int(m.Q);
  const int own = Q ? Q : H * W, downs = padded(own + W), queries = padded(H * W), wide = padded(D);
  for (int r = 0; r < count; ++r) rms_norm(&b.x[r * Dp], l.in_norm, &b.normed[r * Dp], D, m.eps);
  product(b.normed.data(), Dp, l.down, b.down.data(), downs, count, downs, D);
  if (Q) {
    for (int r = 0; r < count; ++r) rms_norm(&b.down[r * downs], l.q_norm, &b.normed[r * padded(Q)], Q, m.latent_eps);
    product(b.normed.data(), padded(Q), l.query, b.query.data(), queries, count, queries, Q);
  } else {
    for (int r = 0; r < count; ++r) std::memcpy(&b.query[r * queries], &b.down[r * downs], H * W * sizeof(float));
  }
  for (int r = 0; r < count; ++r) {
    const int64_t row = first + r, end = m.lengths[row];
    const float *turns = m.turns + (end - 1) * S;
    const auto keys = [&](int64_t row) { return l.cache + (m.place ? m.place[row] : row) * m.capacity * W; };
    float *cached = keys(row), *newest = cached + (end - 1) * W;
    rms_norm(&b.down[r * downs + own], l.kv_norm, newest, C, m.latent_eps);
    std::memcpy(newest + C, &b.down[r * downs + own + C], S * sizeof(float));
    rotate(newest + C, turns, S);
    for (int h = 0; h < H; ++h) rotate(&b.query[r * queries + h * W + C], turns, S);
    Ahead ahead{};
    if (r + 1 < count && keys(row + 1) != cached) ahead = {keys(row + 1), m.lengths[row + 1] * W};
    attend(&b.query[r * queries], cached, H, C, W, end, &b.attended[r * H * C], b.attend, ahead);
  }
  product(b.attended.data(), H * C, l.out, b.out.data(), wide, count, wide, H * C);
  for (int r = 0; r < count; ++r) add(&b.x[r * Dp], &b.out[r * wide], D);
}

// routes of the block's first row in this layer, or null.
void network(const Model &m, const Layer &l, int count, Buffers &b, int64_t *routes) {
  const int D = int(m.D), Dp = padded(D);
  for (int r = 0; r < count; ++r) rms_norm(&b.x[r * Dp], l.post_norm, &b.normed[r * Dp], D, m.eps);
  const int F = int(l.width), Fp = padded(F);
  product(b.normed.data(), Dp, l.gate_up, b.wide.data(), 2 * Fp, count, 2 * Fp, D);
  for (int r = 0; r < count; ++r) gated(&b.wide[r * 2 * Fp], &b.wide[r * 2 * Fp + Fp], &b.inner[r * Fp], F, 1.0f);
  product(b.inner.data(), Fp, l.mlp_down, b.out.data(), Dp, count, Dp, F);
  if (!l.router) {
    for (int r = 0; r < count; ++r) add(&b.x[r * Dp], &b.out[r * Dp], D);
    return;
  }
  const int E = int(m.E), Ep = padded(E), K = int(m.K), I = int(m.I), Ip = padded(I);
  product(b.normed.data(), Dp, l.router, b.router.data(), Ep, count, Ep, D);
  std::vector<int> experts(count * K);
  std::vector<float> weights(count * K);
  for (int r = 0; r < count; ++r) {
    float *scores = &b.router[r * Ep];
    score(m.router, scores);
    choose(m.router, scores, l.bias, &experts[r * K], &weights[r * K]);
    add(&b.x[r * Dp], &b.out[r * Dp], D);
    if (routes) std::copy_n(&experts[r * K], K, routes + r * m.sparse * K);
  }
  int rows[BLOCK];
  float factors[BLOCK];
  for (int e = 0; e < E; ++e) {
    int n = 0;
    for (int r = 0; r < count; ++r)
      for (int k = 0; k < K; ++k)
        if (experts[r * K + k] == e) { rows[n] = r; factors[n++] = weights[r * K + k]; }
    if (!n) continue;
    for (int i = 0; i < n; ++i) std::memcpy(&b.gathered[i * Dp], &b.normed[rows[i] * Dp], D * sizeof(float));
    product(b.gathered.data(), Dp, l.experts_gate_up + int64_t(e) * D * 2 * Ip, b.wide.data(), 2 * Ip, n, 2 * Ip, D);
    for (int i = 0; i < n; ++i)
      gated(&b.wide[i * 2 * Ip], &b.wide[i * 2 * Ip + Ip], &b.inner[i * Ip], I, factors[i]);
    product(b.inner.data(), Ip, l.experts_down + int64_t(e) * I * Dp, b.out.data(), Dp, n, Dp, I);
    for (int i = 0; i < n; ++i) add(&b.x[rows[i] * Dp], &b.out[i * Dp], D);
  }
}

void decode(const Model &m, const int64_t *tokens, float *logits, int64_t begin, int64_t end) {
  const int D = int(m.D), Dp = padded(D), V = int(m.V), Vp = padded(V), W = int(m.C + m.S), HW = int(m.H) * W;
  const int own = m.Q ? int(m.Q) : HW;
  int64_t widest = padded(int(m.I));
  for (int i = 0; i < m.layers; ++i) widest = std::max<int64_t>(widest, padded(int(m.layer[i].width)));
  Buffers b;
  b.x.assign(BLOCK * Dp, 0);
  b.normed.resize(BLOCK * std::max(Dp, padded(own)));
  b.down.resize(BLOCK * padded(own + W));
  b.query.resize(BLOCK * padded(HW));
  b.attended.resize(BLOCK * m.H * m.C);
  b.wide.resize(BLOCK * 2 * widest);
  b.inner.resize(BLOCK * widest);
  b.out.resize(BLOCK * std::max(Dp, Vp));
  b.gathered.resize(BLOCK * Dp);
  b.attend.resize(int(m.H), W, m.longest);
  b.router.resize(BLOCK * padded(int(m.E)));
  for (int64_t first = begin; first < end; first += BLOCK) {
    const int count = int(std::min<int64_t>(BLOCK, end - first));
    for (int r = 0; r < count; ++r) std::memcpy(&b.x[r * Dp], m.embed + tokens[first + r] * D, D * sizeof(float));
    int64_t *routes = m.routes ? m.routes + first * m.sparse * m.K : nullptr;
    for (int i = 0; i < m.layers; ++i) {
      attention(m, m.layer[i], first, count, b);
      network(m, m.layer[i], count, b, routes);
      if (routes && m.layer[i].router) routes += m.K;
    }
    int wanted = 0;
    int64_t answers[BLOCK];
    for (int r = 0; r < count; ++r) {
      const int64_t answer = m.answer ? m.answer[first + r] : first + r;
      if (answer < 0) continue;
      rms_norm(&b.x[r * Dp], m.norm, &b.normed[wanted * Dp], D, m.eps);
      answers[wanted++] = answer;
    }
    product(b.normed.data(), Dp, m.head, b.out.data(), Vp, wanted, Vp, D);
    for (int i = 0; i < wanted; ++i) std::memcpy(logits + answers[i] * V, &b.out[i * Vp], V * sizeof(float));
  }
}

}  // namespace

extern "C" int64_t v3_decode_panel_width() { return WIDE; }

// dims, constants and pointers in the order of kernels/v3_decode/__init__.py. bounds [parts + 1] are where the rows may be
// divided among threads; null: anywhere.
extern "C" void v3_decode_step(const int64_t *dims, const double *constants, void *const *pointers,
                               const int64_t *tokens, float *logits, int64_t *routes, const int64_t *bounds,
                               int64_t parts, int64_t threads) {
  Model m;
  std::memcpy(&m.rows, dims, 13 * sizeof(int64_t));
  m.router = {m.E, m.K, dims[13], dims[14], dims[15] != 0, dims[16] != 0, dims[17] != 0, constants[2]};
  m.eps = constants[0];
  m.latent_eps = constants[1];
  auto at = [&](int i) { return static_cast<const float *>(pointers[i]); };
  m.embed = at(0);
  m.norm = at(1);
  m.head = at(2);
  m.turns = at(3);
  m.lengths = static_cast<const int64_t *>(pointers[4]);
  m.place = static_cast<const int64_t *>(pointers[5]);
  m.answer = static_cast<const int64_t *>(pointers[6]);
  m.longest = *std::max_element(m.lengths, m.lengths + m.rows);
  m.routes = routes;
  std::vector<Layer> layers(m.layers);
  for (int i = 0; i < m.layers; ++i) {
    const int p = 7 + 14 * i;
    layers[i] = {at(p), at(p + 1), at(p + 2), at(p + 3), at(p + 4), at(p + 5), at(p + 6), at(p + 7), at(p + 8),
                 at(p + 9), at(p + 10), at(p + 11), at(p + 12), static_cast<float *>(pointers[p + 13]), dims[18 + i]};
  }
  m.layer = layers.data();
  if (bounds) {
    parallel(parts, threads, 1, [&](int64_t begin, int64_t end, int64_t) {
      decode(m, tokens, logits, bounds[begin], bounds[end]);
    });
    return;
  }
  // Whole blocks to each thread: an expert's matrices are read once a block.
  parallel(m.rows, threads, 8, [&](int64_t begin, int64_t end, int64_t) { decode(m, tokens, logits, begin, end); });
}
