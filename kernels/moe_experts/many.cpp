// Routed experts for many tokens, forward and backward. Specification: kernels/moe_experts/ref.py.
//
// A thread takes a block of an expert's rows through all of its products: it gathers them, multiplies, and goes on with
// every panel of columns as soon as that is there. Weight gradients are a second sweep, by expert and block of their
// rows. No sum depends on the number of threads: each token's rows are added in the order of its choices.
// Legend: M pairs, N tokens, K chosen a token, E experts, D model, I width of an expert.

#include <atomic>
#include <memory>

#include "../words.h"

using namespace r1;

namespace {

constexpr int64_t BLOCK = 256;  // rows at most that go through the products together

struct Task {
  int64_t expert, first, count;
};

struct Pairs {
  int64_t E, chosen, count;
  const int64_t *order;
  std::vector<int64_t> begins;  // where an expert's pairs begin in `order`, and their number

  Pairs(const int64_t *experts, const int64_t *order, int64_t count, int64_t chosen, int64_t E)
      : E(E), chosen(chosen), count(count), order(order), begins(E + 1) {
    for (int64_t p = 0; p < count; ++p) ++begins[experts[p] + 1];
    for (int64_t e = 0; e < E; ++e) begins[e + 1] += begins[e];
  }

  int64_t token(int64_t place) const { return order[place] / chosen; }

  std::vector<Task> blocks() const {
    std::vector<Task> found;
    for (int64_t e = 0; e < E; ++e) {
      const int64_t rows = begins[e + 1] - begins[e], parts = (rows + BLOCK - 1) / BLOCK;
      for (int64_t i = 0; i < parts; ++i) {
        const int64_t first = begins[e] + rows * i / parts;
        found.push_back({e, first, begins[e] + rows * (i + 1) / parts - first});
      }
    }
    return found;
  }
};

// Calls work(take) in every thread, where take() gives the number of the next task, or -1.
template <class Work> void share(int64_t tasks, int64_t threads, const Work &work) {
  std::atomic<int64_t> next{0};
  parallel(std::min(tasks, threads), threads, 1, [&](int64_t, int64_t, int64_t) {
    work([&] {
      const int64_t task = next++;
      return task < tasks ? task : -1;
    });
  });
}

template <class T> std::unique_ptr<T[]> room(int64_t count) { return std::unique_ptr<T[]>(new T[count]); }

// out[t] = Σ of the token's rows, which lie in the pairs' order
template <class T> void add_up(const Pairs &pairs, const T *rows, T *out, int64_t D, int64_t threads) {
  const auto place = room<int64_t>(pairs.count);
  for (int64_t p = 0; p < pairs.count; ++p) place[pairs.order[p]] = p;
  parallel(pairs.count / pairs.chosen, threads, 64, [&](int64_t begin, int64_t end, int64_t) {
    std::vector<float> sum(D);
    for (int64_t t = begin; t < end; ++t) {
      std::fill(sum.begin(), sum.end(), 0.0f);
      for (int64_t k = 0; k < pairs.chosen; ++k) {
        const T *row = rows + place[t * pairs.chosen + k] * D;
        for (int64_t i = 0; i < D; ++i) sum[i] += widen(row[i]);
      }
      put(sum.data(), D, out + t * D);
    }
  });
}

// Rows of a, gathered; the last word's second half is zero if D has none for it.
template <class T> int64_t gather(const Pairs &pairs, const Task &task, const T *from, int64_t D, Word *to) {
  const int64_t step = round_up(words<T>(D), LANES) + LANES;  // rows at other places of the cache
  for (int64_t r = 0; r < task.count; ++r) {
    to[r * step + words<T>(D) - 1] = 0;
    std::memcpy(to + r * step, from + pairs.token(task.first + r) * D, D * sizeof(T));
  }
  return step;
}

template <class T>
void forward(const T *x, const T *weights, const int64_t *experts, const T *gate_up, const T *down, T *out, T *pre,
             int64_t *order, int64_t N, int64_t K, int64_t E, int64_t D, int64_t I, int64_t threads) {
  const Pairs pairs(experts, order, N * K, K, E);
  std::vector<int64_t> next(pairs.begins);
  for (int64_t p = 0; p < N * K; ++p) order[next[experts[p]]++] = p;

  const int64_t wide_x = words<T>(D), wide_inner = words<T>(I), step_inner = round_up(wide_inner, LANES) + LANES;
  const auto tasks = pairs.blocks();
  const auto rows = room<T>(N * K * D);
  share(tasks.size(), threads, [&](const auto &take) {
    const int64_t columns = round_up(I, CHUNK);
    const auto gates = room<Word>(wide_x * columns), ups = room<Word>(wide_x * columns);
    const auto downs = room<Word>(wide_inner * round_up(D, CHUNK));
    const auto a = room<Word>(BLOCK * (round_up(wide_x, LANES) + LANES)), inner = room<Word>(BLOCK * step_inner);
    std::vector<float> c(BLOCK * CHUNK), second(BLOCK * CHUNK);
    int64_t packed = -1;
    for (int64_t number; (number = take()) >= 0;) {
      const Task &task = tasks[number];
      if (packed != task.expert) {
        packed = task.expert;
        pack_turned(gate_up + packed * 2 * I * D, I, D, gates.get());
        pack_turned(gate_up + packed * 2 * I * D + I * D, I, D, ups.get());
        pack_turned(down + packed * D * I, D, I, downs.get());
      }
      const int64_t step = gather(pairs, task, x, D, a.get());
      for (int64_t r = 0; r < task.count; ++r) inner[r * step_inner + wide_inner - 1] = 0;
      for (int64_t i = 0; i < I; i += CHUNK) {
        const int64_t width = std::min<int64_t>(CHUNK, I - i);
        word_product<T>(a.get(), step, 1, HIGH * step, &gates[i * wide_x], c.data(), task.count, wide_x);
        word_product<T>(a.get(), step, 1, HIGH * step, &ups[i * wide_x], second.data(), task.count, wide_x);
        for (int64_t r = 0; r < task.count; ++r) {
          const float weight = widen(weights[order[task.first + r]]), *gate = &c[r * CHUNK], *up = &second[r * CHUNK];
          float product[CHUNK];
          for (int j = 0; j < CHUNK; ++j) product[j] = gate[j] * sigmoid(gate[j]) * up[j] * weight;
          T *kept = pre + (task.first + r) * 2 * I + i;
          put(gate, width, kept);
          put(up, width, kept + I);
          put(product, width, (T *)&inner[r * step_inner] + i);
        }
      }
      for (int64_t d = 0; d < D; d += CHUNK) {
        word_product<T>(inner.get(), step_inner, 1, HIGH * step_inner, &downs[d * wide_inner], c.data(), task.count,
                        wide_inner);
        for (int64_t r = 0; r < task.count; ++r)
          put(&c[r * CHUNK], std::min<int64_t>(CHUNK, D - d), &rows[(task.first + r) * D + d]);
      }
    }
  });
  add_up(pairs, rows.get(), out, D, threads);
}

// grad_pre [M, 2I] and inner [M, I] (weighted), in the pairs' order, and the gradients of tokens and routing weights.
template <class T>
void backward_rows(const Pairs &pairs, const T *grad, const T *weights, const T *gate_up, const T *down, const T *pre,
                   T *grad_pre, T *inner, T *grad_x, T *grad_weights, int64_t D, int64_t I, int64_t threads) {
  const int64_t wide_grad = words<T>(D), wide_pre = words<T>(2 * I);
  const auto tasks = pairs.blocks();
  const auto rows = room<T>(pairs.count * D);
  share(tasks.size(), threads, [&](const auto &take) {
    const auto downs = room<Word>(wide_grad * round_up(I, CHUNK)), gate_ups = room<Word>(wide_pre * round_up(D, CHUNK));
    const auto a = room<Word>(BLOCK * (round_up(wide_grad, LANES) + LANES));
    std::vector<float> c(BLOCK * CHUNK), grad_weight(BLOCK);
    int64_t packed = -1;
    for (int64_t number; (number = take()) >= 0;) {
      const Task &task = tasks[number];
      if (packed != task.expert) {
        packed = task.expert;
        pack_rows<T, CHUNK>([&](int64_t d) { return down + (packed * D + d) * I; }, D, I, downs.get());
        pack_rows<T, CHUNK>([&](int64_t i) { return gate_up + (packed * 2 * I + i) * D; }, 2 * I, D, gate_ups.get());
      }
      const int64_t step = gather(pairs, task, grad, D, a.get());
      std::fill(grad_weight.begin(), grad_weight.end(), 0.0f);
      for (int64_t i = 0; i < I; i += CHUNK) {
        const int64_t width = std::min<int64_t>(CHUNK, I - i);
        word_product<T>(a.get(), step, 1, HIGH * step, &downs[i * wide_grad], c.data(), task.count, wide_grad);
        for (int64_t r = 0; r < task.count; ++r) {
          const int64_t at = task.first + r;
          const T *gate = pre + at * 2 * I + i, *up = gate + I;
          const float weight = widen(weights[pairs.order[at]]), *given = &c[r * CHUNK];
          float grad_gate[CHUNK], grad_up[CHUNK], product[CHUNK], sum = 0;
          for (int64_t j = 0; j < width; ++j) {
            const float g = widen(gate[j]), u = widen(up[j]), s = sigmoid(g), silu = g * s, d = given[j] * weight;
            grad_gate[j] = d * u * s * (1 + g * (1 - s));
            grad_up[j] = d * silu;
            product[j] = silu * u * weight;
            sum += given[j] * silu * u;
          }
          grad_weight[r] += sum;
          put(grad_gate, width, grad_pre + at * 2 * I + i);
          put(grad_up, width, grad_pre + at * 2 * I + I + i);
          put(product, width, inner + at * I + i);
        }
      }
      for (int64_t r = 0; r < task.count; ++r)
        grad_weights[pairs.order[task.first + r]] = narrow<T>(grad_weight[r]);
      const Word *from = (const Word *)(grad_pre + task.first * 2 * I);
      for (int64_t d = 0; d < D; d += CHUNK) {
        word_product<T>(from, wide_pre, 1, HIGH * wide_pre, &gate_ups[d * wide_pre], c.data(), task.count, wide_pre);
        for (int64_t r = 0; r < task.count; ++r)
          put(&c[r * CHUNK], std::min<int64_t>(CHUNK, D - d), &rows[(task.first + r) * D + d]);
      }
    }
  });
  add_up(pairs, rows.get(), grad_x, D, threads);
}

// out [A, B] = Σ over K rows of left [K, A] ⊗ right [K, B]
template <class T> struct Outer {
  std::vector<uint32_t> lefts, rights;
  std::vector<float> c;

  template <class Left, class Right>
  void operator()(const Left &left, const Right &right, int64_t K, int64_t A, int64_t B, T *out) {
    const int64_t deep = words<T>(K);
    if (K == 0) std::fill_n(out, A * B, T{});
    if (K == 0) return;
    lefts.resize(std::max<size_t>(lefts.size(), deep * round_up(A, HIGH)));
    rights.resize(std::max<size_t>(rights.size(), deep * round_up(B, CHUNK)));
    c.resize(round_up(A, HIGH) * CHUNK);
    pack_rows<T, HIGH>(left, K, A, lefts.data());
    pack_rows<T, CHUNK>(right, K, B, rights.data());
    for (int64_t b = 0; b < B; b += CHUNK) {
      word_product<T>(lefts.data(), 1, HIGH, HIGH * deep, &rights[b * deep], c.data(), A, deep);
      for (int64_t i = 0; i < A; ++i) put(&c[i * CHUNK], std::min<int64_t>(CHUNK, B - b), out + i * B + b);
    }
  }
};

template <class T>
void backward(const T *grad, const T *x, const T *weights, const int64_t *experts, const T *gate_up, const T *down,
              const T *pre, const int64_t *order, T *grad_x, T *grad_weights, T *grad_gate_up, T *grad_down, int64_t N,
              int64_t K, int64_t E, int64_t D, int64_t I, int64_t threads) {
  const Pairs pairs(experts, order, N * K, K, E);
  const auto grad_pre = room<T>(N * K * 2 * I), inner = room<T>(N * K * I);
  backward_rows(pairs, grad, weights, gate_up, down, pre, grad_pre.get(), inner.get(), grad_x, grad_weights, D, I,
                threads);
  const int64_t downs = (D + BLOCK - 1) / BLOCK, gate_ups = (2 * I + BLOCK - 1) / BLOCK, each = downs + gate_ups;
  share(E * each, threads, [&](const auto &take) {
    Outer<T> outer;
    for (int64_t task; (task = take()) >= 0;) {
      const int64_t e = task / each, first = pairs.begins[e], rows = pairs.begins[e + 1] - first;
      if (task % each < downs) {
        const int64_t d = task % each * BLOCK;
        outer([&](int64_t r) { return grad + pairs.token(first + r) * D + d; },
              [&](int64_t r) { return &inner[(first + r) * I]; }, rows, std::min(BLOCK, D - d), I,
              grad_down + (e * D + d) * I);
      } else {
        const int64_t i = (task % each - downs) * BLOCK;
        outer([&](int64_t r) { return &grad_pre[(first + r) * 2 * I + i]; },
              [&](int64_t r) { return x + pairs.token(first + r) * D; }, rows, std::min(BLOCK, 2 * I - i), D,
              grad_gate_up + (e * 2 * I + i) * D);
      }
    }
  });
}

}  // namespace

// The forward pass does nothing and returns 1 where an expert's number is not one; the backward pass comes after it.
#define EXPORT(T, NAME)                                                                                             \
  extern "C" int64_t moe_forward_##NAME(const T *x, const T *weights, const int64_t *experts, const T *gate_up,     \
                                        const T *down, T *out, T *pre, int64_t *order, int64_t tokens,              \
                                        int64_t chosen, int64_t count, int64_t D, int64_t I, int64_t threads) {     \
    if (!all_below(experts, tokens * chosen, count)) return 1;                                                      \
    forward(x, weights, experts, gate_up, down, out, pre, order, tokens, chosen, count, D, I, threads);             \
    return 0;                                                                                                       \
  }                                                                                                                 \
  extern "C" void moe_backward_##NAME(                                                                              \
      const T *grad, const T *x, const T *weights, const int64_t *experts, const T *gate_up, const T *down,         \
      const T *pre, const int64_t *order, T *grad_x, T *grad_weights, T *grad_gate_up, T *grad_down,                \
      int64_t tokens, int64_t chosen, int64_t count, int64_t D, int64_t I, int64_t threads) {                       \
    backward(grad, x, weights, experts, gate_up, down, pre, order, grad_x, grad_weights, grad_gate_up, grad_down,   \
             tokens, chosen, count, D, I, threads);                                                                 \
  }
EXPORT(float, f32)
#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)  // elsewhere torch's products are the faster
EXPORT(bf16, bf16)
#endif
