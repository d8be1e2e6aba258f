// Optimisers on the GPU: all tensors in one launch, and one more where the numbers of their steps live on the card.
//
// As in clipping, the addresses and lengths travel as a kernel parameter, the tensors' tiles are numbered through, and
// a block finds the tensor of its tile by bisection. A thread holds a vector of each of weight, gradient and state, and
// writes what changes back. Which of the state is there is the same for a whole tensor, so that asking costs nothing
// beside memory.
#include "../math/optimizers.h"

#include "../kernels/optimizers.h"
#include "vector.cuh"

namespace ganops::cuda {
namespace {

// A longer list takes several launches. The larger table is under the 32,764 bytes that a launch may pass.
constexpr int few = 64, many = 384;

template <class T, int capacity>
struct Table {
  using A = Accumulate<T>;
  T *weight[capacity], *gradient[capacity], *a[capacity], *b[capacity], *c[capacity];
  int64_t count[capacity];
  // Where the step's number is, or else what follows from it.
  const float* device_step[capacity];
  StepSize<A> step[capacity];
  int end[capacity];  // tiles up to and with this tensor
  int tensors;
  A lr;
  const float *lr_at, *grad_scale, *found_inf;
};

// Vectors of each tensor that a thread loads at once. Two of three tensors, the fewest, are 96 bytes.
constexpr int together = 2;

template <class T>
struct Loaded {
  Vector<T> weight, gradient, a, b, c;
};

template <class Update, class T, int capacity>
__global__ void GANOPS_BOUNDS(sizeof(T) == sizeof(float) ? 3 : 2)
    update_kernel(const __grid_constant__ Table<T, capacity> table, Update update) {
  using A = Accumulate<T>;
  if (table.found_inf != nullptr && *table.found_inf != 0) return;
  const int tile = blockIdx.x;
  int t = 0;
  for (int high = table.tensors - 1; t < high;) {
    const int middle = (t + high) / 2;
    if (tile < table.end[middle]) {
      high = middle;
    } else {
      t = middle + 1;
    }
  }
  T *p = table.weight[t], *g = table.gradient[t], *a = table.a[t], *b = table.b[t], *c = table.c[t];
  const bool second = b != nullptr, third = c != nullptr, scaled = table.grad_scale != nullptr;
  const A inverse = scaled ? A(1 / A(*table.grad_scale)) : A(1);
  const A lr = table.lr_at != nullptr ? A(*table.lr_at) : table.lr;
  update.limit = limit_of_step(update.limit, lr);
  const StepSize<A> step = table.device_step[t] != nullptr ? update.at(lr, A(*table.device_step[t])) : table.step[t];
  const int64_t begin = int64_t(tile - (t > 0 ? table.end[t - 1] : 0)) * tile_size<T, together>;
  const bool vectors =
      ((reinterpret_cast<uintptr_t>(p) | reinterpret_cast<uintptr_t>(g) | reinterpret_cast<uintptr_t>(a) |
        reinterpret_cast<uintptr_t>(b) | reinterpret_cast<uintptr_t>(c)) %
       16) == 0;
  const auto at = [&](T& x, T& gradient, T& first, T& other, T& last) {
    if (scaled) gradient = narrow<T>(A(widen(gradient)) * inverse);
    A one = widen(first), two = widen(other), three = widen(last);
    x = narrow<T>(update(A(widen(x)), A(widen(gradient)), one, two, three, step, second, third));
    first = narrow<T>(one), other = narrow<T>(two), last = narrow<T>(three);
  };
  visit_tile<T, together>(
      begin, table.count[t], vectors,
      [&](int64_t i, bool inside) {
        return Loaded<T>{load(p + i, inside), load(g + i, inside), load(a + i, inside),
                         load(second ? b + i : b, inside && second), load(third ? c + i : c, inside && third)};
      },
      [&](int64_t i, Loaded<T>& x) {
#pragma unroll
        for (int j = 0; j < Vector<T>::width; ++j)
          at(x.weight.at[j], x.gradient.at[j], x.a.at[j], x.b.at[j], x.c.at[j]);
        store(p + i, x.weight);
        store(a + i, x.a);
        if (second) store(b + i, x.b);
        if (third) store(c + i, x.c);
        if (scaled) store(g + i, x.gradient);
      },
      [&](int64_t i) {
        T x = p[i], gradient = g[i], first = a[i], other{}, last{};
        if (second) other = b[i];
        if (third) last = c[i];
        at(x, gradient, first, other, last);
        p[i] = x;
        a[i] = first;
        if (second) b[i] = other;
        if (third) c[i] = last;
        if (scaled) g[i] = gradient;
      });
}

template <int capacity>
struct Steps {
  float* at[capacity];
  const float* found_inf;
  int count;
};

// One thread a step.
template <int capacity>
__global__ void GANOPS_BOUNDS(1) advance_kernel(const __grid_constant__ Steps<capacity> steps) {
  const int i = blockIdx.x * block_size + threadIdx.x;
  if (i >= steps.count || (steps.found_inf != nullptr && *steps.found_inf != 0)) return;
  *steps.at[i] += 1;
}

void advance(Stream stream, const OptimizerTensor* tensors, int64_t count, const float* found_inf) {
  constexpr int capacity = 1024;
  Steps<capacity> steps;
  steps.found_inf = found_inf;
  steps.count = 0;
  for (int64_t t = 0; t < count; ++t) {
    if (tensors[t].device_step != nullptr) steps.at[steps.count++] = tensors[t].device_step;
    if (steps.count == capacity || (t == count - 1 && steps.count > 0)) {
      launch(advance_kernel<capacity>, divide_up(steps.count, block_size), block_size, stream, steps);
      steps.count = 0;
    }
  }
}

template <class T, template <class> class Rule, int capacity>
void update_some(Stream stream, const OptimizerTensor* tensors, int64_t count, const OptimizerSettings& settings) {
  using A = Accumulate<T>;
  // Tiles are numbered in an int: a tensor past that many elements is updated in parts.
  constexpr int64_t most = max_blocks / 2 * tile_size<T, together>;
  const auto exact = Rule<double>::from(settings);
  Table<T, capacity> table;
  static_assert(sizeof table + sizeof(Rule<A>) <= 32764);
  table.lr = settings.lr;
  table.lr_at = settings.lr_at;
  table.grad_scale = settings.grad_scale;
  table.found_inf = settings.found_inf;
  table.tensors = 0;
  int64_t tiles = 0;
  const auto flush = [&] {
    if (table.tensors > 0) {
      launch(update_kernel<Rule<A>, T, capacity>, tiles, block_size, stream, table, Rule<A>::from(settings));
    }
    table.tensors = 0;
    tiles = 0;
  };
  double number = 0;  // of the last step that was looked up, nearly always that of all tensors; they count from 1
  StepSize<A> step{};
  for (int64_t t = 0; t < count; ++t) {
    const OptimizerTensor& tensor = tensors[t];
    if (tensor.device_step == nullptr && tensor.step != number) {
      number = tensor.step;
      step = exact.at(settings.lr, number).template as<A>();
    }
    for (int64_t done = 0; done < tensor.count;) {
      const int64_t part = smaller(tensor.count - done, most), more = divide_up(part, tile_size<T, together>);
      if (table.tensors == capacity || tiles + more > max_blocks) flush();
      const int place = table.tensors++;
      const auto at = [&](void* data) { return data != nullptr ? static_cast<T*>(data) + done : nullptr; };
      table.weight[place] = at(tensor.weight);
      table.gradient[place] = at(tensor.gradient);
      table.a[place] = at(tensor.state[0]);
      table.b[place] = at(tensor.state[1]);
      table.c[place] = at(tensor.state[2]);
      table.count[place] = part;
      table.device_step[place] = tensor.device_step;
      table.step[place] = step;
      tiles += more;
      table.end[place] = static_cast<int>(tiles);
      done += part;
    }
  }
  flush();
}

template <class T, template <class> class Rule>
void update_all(Stream stream, const OptimizerTensor* tensors, int64_t count, const OptimizerSettings& settings) {
  advance(stream, tensors, count, settings.found_inf);
  if (count <= few) {
    update_some<T, Rule, few>(stream, tensors, count, settings);
  } else {
    update_some<T, Rule, many>(stream, tensors, count, settings);
  }
}

void update(Stream stream, DType dtype, const OptimizerTensor* tensors, int64_t count,
            const OptimizerSettings& settings) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    if (settings.rule == Rule::adam) {
      update_all<T, Adam>(stream, tensors, count, settings);
    } else {
      update_all<T, RMSprop>(stream, tensors, count, settings);
    }
  });
}

}  // namespace

extern const OptimizersKernels optimizers{update};

}  // namespace ganops::cuda
