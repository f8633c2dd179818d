// Computes what it can of a golden pack, and writes CASE/out/NAME.npy for the judge, and gradients
// as CASE/grad/NAME.npy.
//
//   g++ -std=c++17 -O2 reader.cpp -o reader
//   ./reader PACK RESULTS [--bug WORD] [--algorithm standard|kahan|welford]
//
// Exit codes: 0 written, 2 bad input.
#include <filesystem>
#include <iostream>

#include "gradients.hpp"
#include "operations.hpp"
#include "pack.hpp"

// Computes a case by the table that has its operation, and writes the results to `folder`.
bool written(const pack::Case &c, const std::map<std::string, operations::Function> &table,
             const std::filesystem::path &folder, const operations::Options &options) {
  const auto found = table.find(c.operation);
  if (found == table.end()) return false;
  for (const auto &[name, tensor] : found->second(c, options)) {
    const auto file = folder / (name + ".npy");
    std::filesystem::create_directories(file.parent_path());
    pack::write_npy(file.string(), tensor);
  }
  return true;
}

int main(int argc, char **argv) {
  if (argc < 3 || argc % 2 == 0) {
    std::cerr << "usage: reader PACK RESULTS [--bug WORD] [--algorithm NAME]\n";
    return 2;
  }
  operations::Options options;
  for (int i = 3; i < argc; i += 2) {
    if (std::string(argv[i]) == "--bug") options.bug = argv[i + 1];
    if (std::string(argv[i]) == "--algorithm") options.algorithm = argv[i + 1];
  }
  try {
    std::size_t done = 0;
    const auto cases = pack::read(argv[1]);
    for (const auto &c : cases) {
      const auto folder = std::filesystem::path(argv[2]) / c.name;
      done += written(c, operations::known(), folder / "out", options);
      if (c.has("cotangent/y")) written(c, gradients::known(), folder / "grad", options);
    }
    std::cerr << done << " of " << cases.size() << " cases were computed\n";
  } catch (const std::exception &error) {
    std::cerr << "error: " << error.what() << "\n";
    return 2;
  }
  return 0;
}
