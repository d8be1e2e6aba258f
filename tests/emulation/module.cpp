// The Python module over the emulator's counters and faults, whatever kernels are linked to it: the library's and its
// torch operators, the planted faults, or the mutants.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "cases.h"
#include "runtime.h"

namespace py = pybind11;
using namespace ganops_emulation;

namespace {

py::tuple tuple(const Extent& extent) { return py::make_tuple(extent.x, extent.y, extent.z); }

void add(py::dict& into, const LaunchRecord& record, bool accumulate) {
  const auto set = [&](const char* key, std::uint64_t value) {
    into[key] = accumulate && into.contains(key) ? into[key].cast<std::uint64_t>() + value : value;
  };
  set("blocks", record.grid.count());
  set("threads", record.grid.count() * record.block.count());
  set("read_bytes", record.read_bytes);
  set("requested_read_bytes", record.requested_read_bytes);
  set("written_bytes", record.written_bytes);
  set("vector_read_bytes", record.vector_read_bytes);
  set("vector_written_bytes", record.vector_written_bytes);
  set("shared_read_bytes", record.shared_read_bytes);
  set("shared_written_bytes", record.shared_written_bytes);
  set("barriers", record.barriers);
  set("warp_ops", record.warp_ops);
  set("atomics", record.atomics);
  set("switches", record.switches);
  const auto largest = accumulate && into.contains("shared_bytes") ? into["shared_bytes"].cast<std::uint64_t>() : 0;
  into["shared_bytes"] = std::max(largest, record.shared_bytes);
}

py::list list_launches() {
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  py::list result;
  for (const LaunchRecord& record : launches) {
    py::dict entry;
    entry["op"] = record.op;
    entry["kernel"] = record.kernel;
    entry["grid"] = tuple(record.grid);
    entry["block"] = tuple(record.block);
    add(entry, record, false);
    entry["atomic_words"] = record.atomic_words;
    result.append(entry);
  }
  return result;
}

py::dict counters() {
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  py::dict result;
  for (const LaunchRecord& record : launches) {
    const std::string name = record.op.empty() ? record.kernel : record.op;
    if (!result.contains(name.c_str())) {
      result[name.c_str()] = py::dict();
      result[name.c_str()]["launches"] = 0;
    }
    py::dict entry = result[name.c_str()];
    entry["launches"] = entry["launches"].cast<int>() + 1;
    add(entry, record, true);
  }
  return result;
}

py::list list_faults() {
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  py::list result;
  for (const Fault& fault : faults) {
    py::dict entry;
    entry["kind"] = fault.kind;
    entry["op"] = fault.op;
    entry["kernel"] = fault.kernel;
    entry["where"] = fault.where;
    entry["text"] = fault.text;
    result.append(entry);
  }
  return result;
}

}  // namespace

PYBIND11_MODULE(ganops_emulation, m) {
  m.doc() = "What the CUDA emulator saw: launches, memory traffic, faults.";
  static py::exception<std::runtime_error> fault_error(m, "EmulationFault", PyExc_RuntimeError);

  m.def("reset", &reset, "Forgets all launches and faults.");
  m.def("launches", &list_launches, "Each launch since reset(): op, kernel, grid, block and its counters.");
  m.def("counters", &counters,
        "The counters summed by op (by kernel outside an op); shared_bytes is the largest of a launch.");
  m.def("faults", &list_faults, "Each fault since reset(): kind, op, kernel, where, text.");
  m.def(
      "raise_faults",
      [] {
        const std::lock_guard<std::recursive_mutex> lock(mutex);
        if (faults.empty()) return;
        std::string text = faults.front().text;
        if (faults.size() > 1) text += " (and " + std::to_string(faults.size() - 1) + " more)";
        faults.clear();
        PyErr_SetString(fault_error.ptr(), text.c_str());
        throw py::error_already_set();
      },
      "Raises EmulationFault for the first fault since reset(), if any, and forgets them all.");
  m.def(
      "set_seed", [](std::uint64_t seed) { settings.seed = seed; }, py::arg("seed"),
      "The order of threads in a block and of blocks in a grid; 0: the natural one.");
  m.def("seed", [] { return settings.seed; });
  m.def(
      "set_multiprocessors", [](int count) { settings.multiprocessors = count; }, py::arg("count"),
      "How many multiprocessors the device claims to have; kernels size their grids by it.");
  m.def(
      "set_stream",
      [](std::uintptr_t stream, std::uint64_t capture) {
        settings.stream = stream;
        settings.capture = capture;
      },
      py::arg("stream"), py::arg("capture") = 0,
      "The stream that torch would name, and the number of the capture that it is in (0: none). Launches run at once "
      "whatever it is; what the host code makes of it shows in launches(), as atomic_words for one.");
  m.def(
      "set_ends", [](std::uint64_t blocks) { settings.ends = blocks; }, py::arg("blocks"),
      "Runs only so many blocks at each end of a grid (0: all), for sizes that would take too long; outputs are then "
      "not expected to be complete.");
  m.def("instrumented", &instrumented, "Whether every load and store is seen, or those of the access helpers alone.");
  m.def(
      "cases",
      [] {
        py::list names;
        for (const auto& [name, run] : cases()) names.append(name);
        return names;
      },
      "The kernels compiled into this module for its own tests.");
  m.def(
      "run", [](const std::string& name) { return cases().at(name)(); }, py::arg("case"),
      "Runs one of cases() and returns its output.");
}
