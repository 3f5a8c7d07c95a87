// SPDX-License-Identifier: Apache-2.0
// Small multilayer perceptrons, fused: all layers (and all steps of a rollout) of a block of rows while it is in cache.
//
// Compiled for the machine it runs on by native.py, once with -DBF16 where the processor multiplies bfloat16
// (AVX512-BF16; weights and activations are rounded, sums are float32) and once in plain float32, in vectors as wide as
// its registers (AVX-512, AVX, NEON or SSE). Weights come packed in panels of 16 columns, see native.py.
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "native_threads.h"

typedef float vec __attribute__((vector_size(64), aligned(64)));  // 16 floats
typedef float vec_u __attribute__((vector_size(64), aligned(4)));
typedef int32_t mask __attribute__((vector_size(64), aligned(64)));

#define LANES 16
#define INLINE static inline __attribute__((always_inline))

// A tile of TILE rows x PANELS panels of sums stays in registers, with room for the weights and one input; a panel takes
// 16 floats, so 1, 2 or 4 registers. BLOCK rows stay in cache together; it and its half are multiples of TILE.
#if defined(__AVX512F__)
#define WIDE 64  // bytes; 32 registers
#define TILE 8
#define PANELS 2
#define BLOCK 32
#elif defined(__AVX__)
#define WIDE 32  // 16 registers
#define TILE 6
#define PANELS 1
#define BLOCK 36
#elif defined(__aarch64__)
#define WIDE 16  // 32 registers
#define TILE 6
#define PANELS 1
#define BLOCK 36
#else
#define WIDE 16  // 16 registers (SSE)
#define TILE 3
#define PANELS 1
#define BLOCK 36
#endif
#define PIECES (64 / WIDE)  // registers that a panel takes

typedef float piece __attribute__((vector_size(WIDE)));
typedef float piece_u __attribute__((vector_size(WIDE), aligned(4)));
typedef int32_t piece_mask __attribute__((vector_size(WIDE)));

#ifdef BF16
#include <immintrin.h>
typedef uint16_t elem;
#define STEP 2  // inputs per multiplication
typedef __m512i weight;
INLINE piece multiply(piece sum, const elem *x, const weight *w) {
    int32_t pair;
    memcpy(&pair, x, 4);
    return (piece)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(pair), (__m512bh)*w);
}
INLINE void store_piece(elem *to, piece value) {
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh((__m512)value));
}
INLINE void store_elems(elem *to, vec value) {
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh((__m512)value));
}
#else
typedef float elem;
#define STEP 1
typedef piece weight;
INLINE piece multiply(piece sum, const elem *x, const weight *w) { return sum + *x * *w; }
INLINE void store_piece(elem *to, piece value) { *(piece_u *)to = value; }
INLINE void store_elems(elem *to, vec value) { *(vec_u *)to = value; }
#endif

typedef struct {
    int inputs, outputs;  // multiples of 16
    const void *weights;
    const float *bias;
} layer;

INLINE vec load(const float *from) { return *(const vec_u *)from; }
INLINE void store(float *to, vec value) { *(vec_u *)to = value; }
INLINE vec choose(mask which, vec yes, vec no) { return (vec)((which & (mask)yes) | (~which & (mask)no)); }
INLINE piece relu(piece x) { return (piece)(~(x <= 0.0f) & (piece_mask)x); }  // NaN stays NaN: a broken model is seen

// tanh by a rational function on [-7.9, 7.9], error below 1e-6 (the coefficients are those of Eigen's ptanh).
INLINE vec tanh16(vec x) {
    const vec bound = (vec){0} + 7.90531110763549805f;
    x = choose(x > bound, bound, x);
    x = choose(x < -bound, -bound, x);
    vec s = x * x;
    vec p = (vec){0} + -2.76076847742355e-16f;
    p = p * s + 2.00018790482477e-13f;
    p = p * s + -8.60467152213735e-11f;
    p = p * s + 5.12229709037114e-08f;
    p = p * s + 1.48572235717979e-05f;
    p = p * s + 6.37261928875436e-04f;
    p = p * s + 4.89352455891786e-03f;
    vec q = (vec){0} + 1.19825839466702e-06f;
    q = q * s + 1.18534705686654e-04f;
    q = q * s + 2.26843463243900e-03f;
    q = q * s + 4.89352518554385e-03f;
    return x * p / q;
}

// TILE rows x `panels` panels of one layer, in registers.
INLINE void tile(int panels, const elem *x, int stride, const layer *l, int panel, piece sums[TILE][PANELS * PIECES]) {
    const int steps = l->inputs / STEP;
    const weight *w = (const weight *)l->weights + (size_t)panel * steps * PIECES;
    for (int j = 0; j < panels * PIECES; j++)
        for (int i = 0; i < TILE; i++) sums[i][j] = *(const piece_u *)(l->bias + panel * LANES + j * (LANES / PIECES));
    for (int k = 0; k < steps; k++)
        for (int i = 0; i < TILE; i++)
            for (int j = 0; j < panels; j++)
                for (int p = 0; p < PIECES; p++)
                    sums[i][j * PIECES + p] = multiply(
                        sums[i][j * PIECES + p], x + i * stride + k * STEP, w + ((size_t)j * steps + k) * PIECES + p);
}

INLINE void dense_panels(int panels, const elem *x, int in, int rows, const layer *l, int panel, elem *hidden, float *out) {
    for (int i0 = 0; i0 < rows; i0 += TILE) {
        piece sums[TILE][PANELS * PIECES];
        tile(panels, x + (size_t)i0 * in, in, l, panel, sums);
        for (int i = 0; i < TILE; i++)
            for (int j = 0; j < panels * PIECES; j++) {
                size_t at = (size_t)(i0 + i) * l->outputs + panel * LANES + j * (LANES / PIECES);
                if (hidden) store_piece(hidden + at, relu(sums[i][j]));
                else *(piece_u *)(out + at) = sums[i][j];
            }
    }
}

// One layer for `rows` rows (a multiple of TILE); hidden layers write elements after ReLU, the last one writes floats.
static void dense(const elem *x, int rows, const layer *l, elem *hidden, float *out) {
    int panel = 0, panels = l->outputs / LANES;
    for (; panel + PANELS <= panels; panel += PANELS) dense_panels(PANELS, x, l->inputs, rows, l, panel, hidden, out);
    for (; panel < panels; panel++) dense_panels(1, x, l->inputs, rows, l, panel, hidden, out);
}

// All layers for one block; a and b are room for rows x width elements each, x may be a.
static void forward(const layer *layers, int depth, elem *x, int rows, elem *a, elem *b, float *out) {
    for (int d = 0; d + 1 < depth; d++) {
        elem *to = x == a ? b : a;
        dense(x, rows, layers + d, to, 0);
        x = to;
    }
    dense(x, rows, layers + depth - 1, 0, out);
}

static int padded(int n) { return (n + LANES - 1) / LANES * LANES; }
static int least(int a, int b) { return a < b ? a : b; }

// Write `n` floats as elements, zeros up to the next multiple of 16.
static void put(elem *to, const float *from, int n) {
    float last[LANES] __attribute__((aligned(64))) = {0};
    int i = 0;
    for (; i + LANES <= n; i += LANES) store_elems(to + i, load(from + i));
    if (i < n) {
        memcpy(last, from + i, (n - i) * sizeof(float));
        store_elems(to + i, load(last));
    }
}

typedef struct {
    const layer *layers;
    int depth, width;
    const float *x;
    int rows, dim;
    float *y;
    int n;
} mlp_job;

static void mlp_block(void *job, int block) {
    const mlp_job *m = job;
    const int in = m->layers[0].inputs, outputs = m->layers[m->depth - 1].outputs, first = block * BLOCK;
    const int count = least(BLOCK, m->rows - first), full = (count + TILE - 1) / TILE * TILE;
    elem a[BLOCK * m->width] __attribute__((aligned(64))), b[BLOCK * m->width] __attribute__((aligned(64)));
    float out[BLOCK * outputs] __attribute__((aligned(64)));
    memset(a + (size_t)count * in, 0, (size_t)(full - count) * in * sizeof(elem));
    for (int i = 0; i < count; i++) put(a + (size_t)i * in, m->x + (size_t)(first + i) * m->dim, m->dim);
    forward(m->layers, m->depth, a, full, a, b, out);
    for (int i = 0; i < count; i++)
        memcpy(m->y + (size_t)(first + i) * m->n, out + i * outputs, m->n * sizeof(float));
}

// y (rows, n) = mlp(x (rows, dim)); the last layer has padded(n) outputs.
void mlp(const layer *layers, int depth, int width, const float *x, int rows, int dim, float *y, int n, int threads) {
    mlp_job job = {layers, depth, width, x, rows, dim, y, n};
    share(mlp_block, &job, (rows + BLOCK - 1) / BLOCK, threads);
}

typedef struct {
    const layer *layers;
    int depth, width;
    const int *dims;
    const float *z0, *h0, *actions, *noise;
    int rows, samples, horizon, block_rows;
    float *zs;
} rollout_job;

static void rollout_block(void *job, int block) {
    const rollout_job *r = job;
    const int D = r->dims[0], S = r->dims[1], A = r->dims[2], N = r->dims[3], horizon = r->horizon;
    const int dp = padded(D), sp = padded(S), in = r->layers[0].inputs, outputs = r->layers[r->depth - 1].outputs;
    const int first = block * r->block_rows, count = least(r->block_rows, r->rows - first);
    const int full = (count + TILE - 1) / TILE * TILE;
    elem a[BLOCK * r->width] __attribute__((aligned(64))), b[BLOCK * r->width] __attribute__((aligned(64)));
    elem x[BLOCK * in] __attribute__((aligned(64)));
    float out[BLOCK * outputs] __attribute__((aligned(64))), z[BLOCK * dp] __attribute__((aligned(64)));
    float extra[A + N];
    memset(x, 0, sizeof x);
    memset(z, 0, sizeof z);
    for (int i = 0; i < count; i++) {
        memcpy(z + i * dp, r->z0, D * sizeof(float));
        put(x + (size_t)i * in, r->z0, D);
        put(x + (size_t)i * in + dp, r->h0, S);
    }
    for (int t = 0; t < horizon; t++) {
        for (int i = 0; i < count; i++) {
            const int c = (first + i) / r->samples, s = (first + i) % r->samples;
            memcpy(extra, r->actions + ((size_t)c * horizon + t) * A, A * sizeof(float));
            if (r->noise) memcpy(extra + A, r->noise + ((size_t)s * horizon + t) * N, N * sizeof(float));
            else memset(extra + A, 0, N * sizeof(float));
            put(x + (size_t)i * in + dp + sp, extra, A + N);
        }
        forward(r->layers, r->depth, x, full, a, b, out);
        for (int i = 0; i < count; i++) {
            elem *row = x + (size_t)i * in;
            const float *difference = out + (size_t)i * outputs;
            for (int j = 0; j < dp; j += LANES) {
                vec next = load(z + i * dp + j) + load(difference + j);
                store(z + i * dp + j, next);
                store_elems(row + j, next);
            }
            for (int j = 0; j < sp; j += LANES) store_elems(row + dp + j, tanh16(load(difference + dp + j)));
            memcpy(r->zs + ((size_t)(first + i) * horizon + t) * D, z + i * dp, D * sizeof(float));
        }
    }
}

// Rolls candidates x samples rows forward from one state. The network reads [latent | state | action, noise], each part
// padded to 16, and gives [latent difference | state before tanh], padded alike. dims: latent, state, action, noise.
void rollout(const layer *layers, int depth, int width, const int *dims, const float *z0, const float *h0,
             const float *actions, const float *noise, int candidates, int samples, int horizon, float *zs,
             int threads) {
    const int rows = candidates * samples, block_rows = rows > 4 * BLOCK * threads ? BLOCK : BLOCK / 2;
    rollout_job job = {layers, depth, width, dims, z0, h0, actions, noise, rows, samples, horizon, block_rows, zs};
    share(rollout_block, &job, (rows + block_rows - 1) / block_rows, threads);
}

// Root of the mean square difference between each of `rows` latents (rows, dim) and one goal (dim).
void rms(const float *z, const float *goal, int rows, int dim, float *out) {
    for (int i = 0; i < rows; i++) {
        const float *row = z + (size_t)i * dim;
        vec sums = {0};
        int j = 0;
        for (; j + LANES <= dim; j += LANES) {
            vec d = load(row + j) - load(goal + j);
            sums += d * d;
        }
        float sum = 0.0f;
        for (int k = 0; k < LANES; k++) sum += sums[k];
        for (; j < dim; j++) sum += (row[j] - goal[j]) * (row[j] - goal[j]);
        out[i] = sqrtf(sum / dim);
    }
}
