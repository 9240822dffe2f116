// One decoding step of a DeepSeek-V3 policy in float32: a token in, logits out, for many rows at once.
//
// Rows are divided among threads, and a thread takes them block by block through the whole network, so that a block's
// activations stay in its cache and threads never wait for each other. Attention is absorbed: it happens among the
// cached latents (DeepSeek-V2, arXiv 2405.04434 § 2.1.2). Every row's arithmetic is the same whatever other rows there
// are. Specification: model.engine.native.LatentDecoder.step.
//
// Matrices are stored input-major, [K, N], with N padded by zeros to a multiple of 32.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16, TALL = 8;
#elif defined(__AVX__)
constexpr int LANES = 8, TALL = 6;
#else
constexpr int LANES = 4, TALL = 4;
#endif
constexpr int WIDE = 2 * LANES;  // columns of a tile of the product
constexpr int BLOCK = 32;        // rows that go through the network together
constexpr int PAD = 32;

typedef float Vec __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));

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
  int64_t rows, length, capacity, D, layers, H, C, S, Q, V, E, K, I, groups, topk_groups;
  int64_t softmax, norm_topk, corrected;
  double eps, latent_eps, scaling;
  const float *embed, *norm, *head;
  const float *turns;      // [capacity, S / 2, 2]: cosine and sine
  const int64_t *padding;  // columns on a row's left that hold nothing
  const Layer *layer;
};

template <int R>
void tile(const float *a, int lda, const float *b, int ldb, float *c, int ldc, int K) {
  Vec sum[R][2] = {};
  for (int k = 0; k < K; ++k) {
    const Vec b0 = *reinterpret_cast<const Vec *>(b + int64_t(k) * ldb);
    const Vec b1 = *reinterpret_cast<const Vec *>(b + int64_t(k) * ldb + LANES);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const float x = a[int64_t(r) * lda + k];
      sum[r][0] += x * b0;
      sum[r][1] += x * b1;
    }
  }
  for (int r = 0; r < R; ++r) {
    *reinterpret_cast<Vec *>(c + int64_t(r) * ldc) = sum[r][0];
    *reinterpret_cast<Vec *>(c + int64_t(r) * ldc + LANES) = sum[r][1];
  }
}

// c [M, ldc] = a [M, lda] b [K, N], N padded.
void product(const float *a, int lda, const float *b, int N, float *c, int ldc, int M, int K) {
  for (int n = 0; n < N; n += WIDE) {
    int m = 0;
    for (; m + TALL <= M; m += TALL) tile<TALL>(a + m * lda, lda, b + n, N, c + m * ldc + n, ldc, K);
    for (; m + 2 <= M; m += 2) tile<2>(a + m * lda, lda, b + n, N, c + m * ldc + n, ldc, K);
    if (m < M) tile<1>(a + m * lda, lda, b + n, N, c + m * ldc + n, ldc, K);
  }
}

void rms_norm(const float *x, const float *weight, float *out, int n, double eps) {
  float sum = 0;
  for (int i = 0; i < n; ++i) sum += x[i] * x[i];
  const float scale = 1.0f / std::sqrt(sum / n + float(eps));
  for (int i = 0; i < n; ++i) out[i] = x[i] * scale * weight[i];
}

// Turns neighbouring pairs by the angles of one position.
void rotate(float *x, const float *turns, int n) {
  for (int i = 0; i < n; i += 2) {
    const float re = x[i] * turns[i] - x[i + 1] * turns[i + 1];
    x[i + 1] = x[i] * turns[i + 1] + x[i + 1] * turns[i];
    x[i] = re;
  }
}

// inner [n] = silu(gate) * up * factor; gate and up lie side by side, each padded.
void gated(const float *gate, const float *up, float *inner, int n, float factor) {
  for (int i = 0; i < n; ++i) inner[i] = gate[i] / (1.0f + std::exp(-gate[i])) * up[i] * factor;
}

void add(float *x, const float *y, int n) {
  for (int i = 0; i < n; ++i) x[i] += y[i];
}

struct Buffers {
  std::vector<float> x, normed, down, query, attended, wide, inner, out, gathered, scores, router;
};

// Chooses K experts of one row from its router scores; writes their numbers and weights.
void choose(const Model &m, const float *scores, const float *bias, int *experts, float *weights) {
  float choice[1024];
  for (int e = 0; e < m.E; ++e) choice[e] = scores[e] + (bias ? bias[e] : 0.0f);
  const float lowest = -3e38f;
  if (m.topk_groups < m.groups) {
    const int size = int(m.E / m.groups);
    float merit[1024];
    for (int g = 0; g < m.groups; ++g) {
      float best = lowest, second = lowest;
      for (int e = g * size; e < (g + 1) * size; ++e) {
        if (choice[e] > best) { second = best; best = choice[e]; }
        else if (choice[e] > second) second = choice[e];
      }
      merit[g] = m.corrected ? best + second : best;
    }
    bool kept[1024] = {};
    for (int i = 0; i < m.topk_groups; ++i) {
      int best = -1;
      for (int g = 0; g < m.groups; ++g)
        if (!kept[g] && (best < 0 || merit[g] > merit[best])) best = g;
      kept[best] = true;
    }
    for (int e = 0; e < m.E; ++e)
      if (!kept[e / size]) choice[e] = lowest;
  }
  float sum = 0;
  bool taken[1024] = {};
  for (int k = 0; k < m.K; ++k) {
    // Never the same expert twice, whatever the scores are, NaN included: callers count on it.
    int best = -1;
    for (int e = 0; e < m.E; ++e)
      if (!taken[e] && (best < 0 || choice[e] > choice[best])) best = e;
    taken[best] = true;
    experts[k] = best;
    weights[k] = scores[best];
    sum += scores[best];
  }
  const float factor = float(m.scaling) / (m.norm_topk ? sum + 1e-20f : 1.0f);
  for (int k = 0; k < m.K; ++k) weights[k] *= factor;
}

void attention(const Model &m, const Layer &l, int64_t first, int count, Buffers &b) {
  const int D = int(m.D), Dp = padded(D), H = int(m.H), C = int(m.C), S = int(m.S), W = C + S, Q = int(m.Q);
  const int own = Q ? Q : H * W, downs = padded(own + W), queries = padded(H * W), wide = padded(D);
  for (int r = 0; r < count; ++r) rms_norm(&b.x[r * Dp], l.in_norm, &b.normed[r * Dp], D, m.eps);
  product(b.normed.data(), Dp, l.down, downs, b.down.data(), downs, count, D);
  if (Q) {
    for (int r = 0; r < count; ++r) rms_norm(&b.down[r * downs], l.q_norm, &b.normed[r * padded(Q)], Q, m.latent_eps);
    product(b.normed.data(), padded(Q), l.query, queries, b.query.data(), queries, count, Q);
  } else {
    for (int r = 0; r < count; ++r) std::memcpy(&b.query[r * queries], &b.down[r * downs], H * W * sizeof(float));
  }
  for (int r = 0; r < count; ++r) {
    const int64_t row = first + r, begin = m.padding[row], end = m.length;
    const float *turns = m.turns + (end - 1 - begin) * S;
    float *cached = l.cache + row * m.capacity * W, *newest = cached + (end - 1) * W;
    rms_norm(&b.down[r * downs + own], l.kv_norm, newest, C, m.latent_eps);
    std::memcpy(newest + C, &b.down[r * downs + own + C], S * sizeof(float));
    rotate(newest + C, turns, S);
    for (int h = 0; h < H; ++h) {
      float *query = &b.query[r * queries + h * W], *out = &b.attended[r * H * C + h * C];
      rotate(query + C, turns, S);
      float highest = -3e38f;
      for (int64_t t = begin; t < end; ++t) {
        const float *key = cached + t * W;
        float score = 0;
        for (int i = 0; i < W; ++i) score += query[i] * key[i];
        b.scores[t] = score;
        highest = std::max(highest, score);
      }
      float sum = 0;
      for (int64_t t = begin; t < end; ++t) {
        b.scores[t] = std::exp(b.scores[t] - highest);
        sum += b.scores[t];
      }
      for (int i = 0; i < C; ++i) out[i] = 0;
      for (int64_t t = begin; t < end; ++t) {
        const float *value = cached + t * W, share = b.scores[t];
        for (int i = 0; i < C; ++i) out[i] += share * value[i];
      }
      for (int i = 0; i < C; ++i) out[i] /= sum;
    }
  }
  product(b.attended.data(), H * C, l.out, wide, b.out.data(), wide, count, H * C);
  for (int r = 0; r < count; ++r) add(&b.x[r * Dp], &b.out[r * wide], D);
}

void network(const Model &m, const Layer &l, int count, Buffers &b) {
  const int D = int(m.D), Dp = padded(D);
  for (int r = 0; r < count; ++r) rms_norm(&b.x[r * Dp], l.post_norm, &b.normed[r * Dp], D, m.eps);
  const int F = int(l.width), Fp = padded(F);
  product(b.normed.data(), Dp, l.gate_up, 2 * Fp, b.wide.data(), 2 * Fp, count, D);
  for (int r = 0; r < count; ++r) gated(&b.wide[r * 2 * Fp], &b.wide[r * 2 * Fp + Fp], &b.inner[r * Fp], F, 1.0f);
  product(b.inner.data(), Fp, l.mlp_down, Dp, b.out.data(), Dp, count, F);
  if (!l.router) {
    for (int r = 0; r < count; ++r) add(&b.x[r * Dp], &b.out[r * Dp], D);
    return;
  }
  const int E = int(m.E), Ep = padded(E), K = int(m.K), I = int(m.I), Ip = padded(I);
  product(b.normed.data(), Dp, l.router, Ep, b.router.data(), Ep, count, D);
  std::vector<int> experts(count * K);
  std::vector<float> weights(count * K);
  for (int r = 0; r < count; ++r) {
    float *scores = &b.router[r * Ep];
    if (m.softmax) {
      const float highest = *std::max_element(scores, scores + E);
      float sum = 0;
      for (int e = 0; e < E; ++e) sum += scores[e] = std::exp(scores[e] - highest);
      for (int e = 0; e < E; ++e) scores[e] /= sum;
    } else {
      for (int e = 0; e < E; ++e) scores[e] = 1.0f / (1.0f + std::exp(-scores[e]));
    }
    choose(m, scores, l.bias, &experts[r * K], &weights[r * K]);
    add(&b.x[r * Dp], &b.out[r * Dp], D);
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
    product(b.gathered.data(), Dp, l.experts_gate_up + int64_t(e) * D * 2 * Ip, 2 * Ip, b.wide.data(), 2 * Ip, n, D);
    for (int i = 0; i < n; ++i)
      gated(&b.wide[i * 2 * Ip], &b.wide[i * 2 * Ip + Ip], &b.inner[i * Ip], I, factors[i]);
    product(b.inner.data(), Ip, l.experts_down + int64_t(e) * I * Dp, Dp, b.out.data(), Dp, n, I);
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
  b.scores.resize(m.length);
  b.router.resize(BLOCK * padded(int(m.E)));
  for (int64_t first = begin; first < end; first += BLOCK) {
    const int count = int(std::min<int64_t>(BLOCK, end - first));
    for (int r = 0; r < count; ++r) std::memcpy(&b.x[r * Dp], m.embed + tokens[first + r] * D, D * sizeof(float));
    for (int i = 0; i < m.layers; ++i) {
      attention(m, m.layer[i], first, count, b);
      network(m, m.layer[i], count, b);
    }
    for (int r = 0; r < count; ++r) rms_norm(&b.x[r * Dp], m.norm, &b.normed[r * Dp], D, m.eps);
    product(b.normed.data(), Dp, m.head, Vp, b.out.data(), Vp, count, D);
    for (int r = 0; r < count; ++r) std::memcpy(logits + (first + r) * V, &b.out[r * Vp], V * sizeof(float));
  }
}

}  // namespace

// dims, constants and pointers in the order of kernels/v3_decode/__init__.py.
extern "C" void v3_decode_step(const int64_t *dims, const double *constants, void *const *pointers,
                               const int64_t *tokens, float *logits, int64_t threads) {
  Model m;
  std::memcpy(&m.rows, dims, 18 * sizeof(int64_t));
  m.eps = constants[0];
  m.latent_eps = constants[1];
  m.scaling = constants[2];
  auto at = [&](int i) { return static_cast<const float *>(pointers[i]); };
  m.embed = at(0);
  m.norm = at(1);
  m.head = at(2);
  m.turns = at(3);
  m.padding = static_cast<const int64_t *>(pointers[4]);
  std::vector<Layer> layers(m.layers);
  for (int i = 0; i < m.layers; ++i) {
    const int p = 5 + 14 * i;
    layers[i] = {at(p), at(p + 1), at(p + 2), at(p + 3), at(p + 4), at(p + 5), at(p + 6), at(p + 7), at(p + 8),
                 at(p + 9), at(p + 10), at(p + 11), at(p + 12), static_cast<float *>(pointers[p + 13]), dims[18 + i]};
  }
  m.layer = layers.data();
  // Whole blocks to each thread: an expert's matrices are read once a block.
  const int64_t least = 8, parts = std::max<int64_t>(1, std::min<int64_t>(threads, m.rows / least));
  std::vector<std::thread> others;
  for (int64_t i = 1; i < parts; ++i)
    others.emplace_back(decode, std::cref(m), tokens, logits, m.rows * i / parts, m.rows * (i + 1) / parts);
  decode(m, tokens, logits, 0, m.rows / parts);
  for (auto &thread : others) thread.join();
}
