// Runs the adversarial losses of one copy of csrc, in which test_mutants.py may have planted a mistake. The copy's
// namespace `ganops` is renamed to GANOPS_MUTANT, so that all copies fit in one module. One translation unit a copy:
// reading the headers is most of its compilation.
#define GANOPS_TEXT_(name) #name
#define GANOPS_TEXT(name) GANOPS_TEXT_(name)

#include "cuda/adversarial_loss.cu"
#include "faults/harness.h"
#include "runtime.h"

namespace GANOPS_MUTANT {
namespace {

using Floats = faults::Array<float>;
using Bytes = faults::Array<unsigned char>;

// Two segments over several tiles, with a rest; the second does not start at a multiple of 16 bytes. Twice, for the
// second launch meets the count that the first one left.
std::vector<double> sum_on(std::uintptr_t first_stream, std::uintptr_t second_stream) {
  const ganops_emulation::Op scope("sum");
  constexpr int real_count = 9001, fake_count = 5000;
  Floats real("real", Floats::input, real_count, -3, 0.001f), fake("fake", Floats::input, fake_count + 1, 2, 0.001f);
  Floats loss("loss", Floats::output, 1), again("again", Floats::output, 1);
  const Term term{Base::softplus, 1, 1, 0};
  const LossSegment segments[] = {{real_count, 1, real.data}, {fake_count, 1, fake.data + 1}};
  const LossTable table{segments, 2, {term, term}, 2};
  Bytes workspace("workspace", Bytes::scratch, std::size_t(cuda::adversarial_loss.workspace(table)));
  const auto stream = [](std::uintptr_t number) { return reinterpret_cast<Stream>(number); };
  cuda::adversarial_loss.sum(stream(first_stream), DType::float32, table, {{loss.data}}, workspace.data);
  cuda::adversarial_loss.sum(stream(second_stream), DType::float32, table, {{again.data}}, workspace.data);
  return {loss.values()[0], again.values()[0]};
}

std::vector<double> sum() { return sum_on(0, 0); }
std::vector<double> streams() { return sum_on(1, 2); }

std::vector<double> captured() {
  struct Capture {
    ganops_emulation::Settings before = ganops_emulation::settings;
    ~Capture() { ganops_emulation::settings = before; }
  } capture;
  ganops_emulation::settings.stream = 3;
  ganops_emulation::settings.capture = 1;
  return sum_on(3, 3);
}

std::vector<double> value() {
  const ganops_emulation::Op scope("value");
  constexpr int count = 9001;
  Floats logits("logits", Floats::input, count, -3, 0.001f), loss("loss", Floats::output, count);
  const LossSegment segment{count, 1, logits.data, nullptr, nullptr, loss.data};
  cuda::adversarial_loss.value(nullptr, DType::float32, {&segment, 1, {{Base::square, 1, 1, 0}}});
  return loss.values();
}

const ganops_emulation::AddCase sum_case(GANOPS_TEXT(GANOPS_MUTANT) "/sum", &sum);
const ganops_emulation::AddCase streams_case(GANOPS_TEXT(GANOPS_MUTANT) "/streams", &streams);
const ganops_emulation::AddCase captured_case(GANOPS_TEXT(GANOPS_MUTANT) "/captured", &captured);
const ganops_emulation::AddCase value_case(GANOPS_TEXT(GANOPS_MUTANT) "/value", &value);

}  // namespace
}  // namespace GANOPS_MUTANT
