// Small matrix products in float: a row-major or transposed left side, a right side arranged in panels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "parallel.h"

namespace r1 {

constexpr int TALL = LANES == 16 ? 8 : LANES == 8 ? 6 : 4;  // rows of a tile: as many as leave registers for sums
constexpr int WIDE = 2 * LANES;  // columns of a panel

// A matrix [K, N] as panels of WIDE columns, [⌈N / WIDE⌉][K][WIDE], zeros after the last column: a product walks
// through a panel from end to end, whatever N is.
inline int64_t panels_size(int64_t K, int64_t N) { return (N + WIDE - 1) / WIDE * WIDE * K; }

// Element (k, n) is b[k * step_k + n * step_n].
inline void pack(const float *b, int64_t step_k, int64_t step_n, int64_t K, int64_t N, float *panels) {
  for (int64_t first = 0; first < N; first += WIDE, panels += K * WIDE) {
    const int64_t columns = std::min<int64_t>(WIDE, N - first);
    const float *from = b + first * step_n;
    if (step_n == 1 && columns == WIDE) {  // a length that the compiler knows is two registers, another one a call
      for (int64_t k = 0; k < K; ++k) std::memcpy(panels + k * WIDE, from + k * step_k, WIDE * sizeof(float));
    } else if (step_n == 1) {
      for (int64_t k = 0; k < K; ++k) {
        std::memcpy(panels + k * WIDE, from + k * step_k, columns * sizeof(float));
        for (int64_t n = columns; n < WIDE; ++n) panels[k * WIDE + n] = 0;
      }
    } else {
      for (int64_t k = 0; k < K; ++k)
        for (int64_t n = columns; n < WIDE; ++n) panels[k * WIDE + n] = 0;
      for (int64_t n = 0; n < columns; ++n)
        for (int64_t k = 0; k < K; ++k) panels[k * WIDE + n] = from[n * step_n + k * step_k];
    }
  }
}

// c [R, columns] (+)= a [R, K] panel; element (r, k) of a is a[r * row + k * step].
template <int R, bool ADD>
inline void tile(const float *a, int64_t row, int64_t step, const float *panel, float *c, int64_t ldc, int64_t K,
                 int columns) {
  Vec sum[R][2] = {};
  for (int64_t k = 0; k < K; ++k) {
    const Vec b0 = *reinterpret_cast<const Vec *>(panel + k * WIDE);
    const Vec b1 = *reinterpret_cast<const Vec *>(panel + k * WIDE + LANES);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const float x = a[r * row + k * step];
      sum[r][0] += x * b0;
      sum[r][1] += x * b1;
    }
  }
  if (columns == WIDE) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      Vec *out = reinterpret_cast<Vec *>(c + r * ldc), *next = reinterpret_cast<Vec *>(c + r * ldc + LANES);
      *out = ADD ? *out + sum[r][0] : sum[r][0];
      *next = ADD ? *next + sum[r][1] : sum[r][1];
    }
  } else {
    for (int r = 0; r < R; ++r)
      for (int i = 0; i < columns; ++i) {
        const float value = sum[r][i / LANES][i % LANES];
        c[r * ldc + i] = ADD ? c[r * ldc + i] + value : value;
      }
  }
}

// One panel's columns for M rows.
template <bool ADD>
inline void column(const float *a, int64_t row, int64_t step, const float *panel, float *c, int64_t ldc, int64_t M,
                   int64_t K, int columns) {
  int64_t m = 0;
  for (; m + TALL <= M; m += TALL) tile<TALL, ADD>(a + m * row, row, step, panel, c + m * ldc, ldc, K, columns);
  if constexpr (TALL > 4)
    for (; m + 4 <= M; m += 4) tile<4, ADD>(a + m * row, row, step, panel, c + m * ldc, ldc, K, columns);
  for (; m + 2 <= M; m += 2) tile<2, ADD>(a + m * row, row, step, panel, c + m * ldc, ldc, K, columns);
  if (m < M) tile<1, ADD>(a + m * row, row, step, panel, c + m * ldc, ldc, K, columns);
}

// c [M, N] (+)= a [M, K] b, b in panels.
template <bool ADD = false>
inline void product(const float *a, int64_t lda, const float *panels, float *c, int64_t ldc, int64_t M, int64_t N,
                    int64_t K) {
  constexpr int64_t ROWS = 8 * TALL;  // of a, which stay in the first cache while all panels pass
  for (int64_t m = 0; m < M; m += ROWS)
    for (int64_t n = 0; n < N; n += WIDE)
      column<ADD>(a + m * lda, lda, 1, panels + n * K, c + m * ldc + n, ldc, std::min(ROWS, M - m), K,
                  int(std::min<int64_t>(WIDE, N - n)));
}

// c [A, B] += Σ over M rows of left [M, A] ⊗ right [M, B].
inline void outer(const float *left, int64_t ldl, const float *right, int64_t ldr, float *c, int64_t ldc, int64_t M,
                  int64_t A, int64_t B) {
  constexpr int64_t ROWS = 256;
  float panel[ROWS * WIDE];
  for (int64_t m = 0; m < M; m += ROWS)
    for (int64_t b = 0; b < B; b += WIDE) {
      const int64_t rows = std::min(ROWS, M - m), columns = std::min<int64_t>(WIDE, B - b);
      pack(right + m * ldr + b, ldr, 1, rows, columns, panel);
      column<true>(left + m * ldl, 1, ldl, panel, c + b, ldc, A, rows, int(columns));
    }
}

}  // namespace r1
