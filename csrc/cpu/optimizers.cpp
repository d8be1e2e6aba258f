// Optimisers on the CPU. The tensors are cut into tiles, whose division depends on the sizes alone; threads take equal
// shares of the tiles, so one large tensor is divided and many small ones are taken together.
#include "../math/optimizers.h"

#include <vector>

#include "../kernels/optimizers.h"
#include "loops.h"

namespace ganops::cpu::GANOPS_ISA {
namespace {

// The work at an element, root and division, in those of a clamp.
constexpr int64_t cost = 4;

template <class T>
struct Tile {
  int64_t count;
  T *weight, *gradient, *a, *b, *c;
};

// Of a tensor: its tiles and those of the tensors before it, and its step.
template <class A>
struct Place {
  int64_t end;
  StepSize<A> step;
};

template <bool second, bool third, class T, class Update, class A>
void update_tile(const Tile<T>& tile, const Update& update, const StepSize<A>& step) {
  T *p = tile.weight, *a = tile.a, *b = tile.b, *c = tile.c;
  const T* g = tile.gradient;
  GANOPS_SIMD
  for (int64_t i = 0; i < tile.count; ++i) {
    A first = widen(a[i]), other = 0, last = 0;
    if constexpr (second) other = widen(b[i]);
    if constexpr (third) last = widen(c[i]);
    const A moved = update(A(widen(p[i])), A(widen(g[i])), first, other, last, step, second, third);
    p[i] = narrow<T>(moved);
    a[i] = narrow<T>(first);
    if constexpr (second) b[i] = narrow<T>(other);
    if constexpr (third) c[i] = narrow<T>(last);
  }
}

template <class T>
void unscale(const Tile<T>& tile, Accumulate<T> inverse) {
  using A = Accumulate<T>;
  GANOPS_SIMD
  for (int64_t i = 0; i < tile.count; ++i) tile.gradient[i] = narrow<T>(A(widen(tile.gradient[i])) * inverse);
}

template <class T, template <class> class Rule>
void update_all(const OptimizerTensor* tensors, int64_t count, const OptimizerSettings& settings) {
  using A = Accumulate<T>;
  std::vector<Place<A>> places(count);
  const auto exact = Rule<double>::from(settings);
  const double lr = settings.lr_at != nullptr ? double(*settings.lr_at) : settings.lr;
  int64_t tiles = 0, elements = 0;
  for (int64_t t = 0; t < count; ++t) {
    tiles += chunks_of(tensors[t].count);
    elements += tensors[t].count;
    const bool again = t > 0 && tensors[t].step == tensors[t - 1].step;  // as nearly always
    places[t] = {tiles, again ? places[t - 1].step : exact.at(lr, tensors[t].step).template as<A>()};
  }
  if (tiles == 0) return;
  auto update = Rule<A>::from(settings);
  update.limit = limit_of_step(update.limit, A(lr));
  const bool scaled = settings.grad_scale != nullptr;
  const A inverse = scaled ? A(1 / double(*settings.grad_scale)) : A(1);
  parallel(tiles, (cost * elements + tiles - 1) / tiles, [&](int64_t number) {
    int64_t t = 0;
    for (int64_t high = count - 1; t < high;) {
      const int64_t middle = (t + high) / 2;
      number < places[middle].end ? high = middle : t = middle + 1;
    }
    const OptimizerTensor& tensor = tensors[t];
    const StepSize<A>& step = places[t].step;
    const int64_t begin = (number - (t > 0 ? places[t - 1].end : 0)) * chunk;
    const auto at = [&](void* data) { return data != nullptr ? static_cast<T*>(data) + begin : nullptr; };
    const Tile<T> tile{smaller(chunk, tensor.count - begin),
                       at(tensor.weight),
                       at(tensor.gradient),
                       at(tensor.state[0]),
                       at(tensor.state[1]),
                       at(tensor.state[2])};
    if (scaled) unscale(tile, inverse);
    if (tile.b != nullptr) {
      tile.c != nullptr ? update_tile<true, true>(tile, update, step) : update_tile<true, false>(tile, update, step);
    } else {
      tile.c != nullptr ? update_tile<false, true>(tile, update, step) : update_tile<false, false>(tile, update, step);
    }
  });
}

void update(Stream, DType dtype, const OptimizerTensor* tensors, int64_t count, const OptimizerSettings& settings) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    if (settings.rule == Rule::adam) {
      update_all<T, Adam>(tensors, count, settings);
    } else {
      update_all<T, RMSprop>(tensors, count, settings);
    }
  });
}

}  // namespace

extern const OptimizersKernels optimizers{update};

}  // namespace ganops::cpu::GANOPS_ISA
