// Computes what it can of a golden pack, and writes CASE/out/NAME.npy for the judge.
//
//   g++ -std=c++17 -O2 reader.cpp -o reader
//   ./reader PACK RESULTS [--bug WORD] [--algorithm standard|kahan|welford]
//
// Exit codes: 0 written, 2 bad input.
#include <filesystem>
#include <iostream>

#include "operations.hpp"
#include "pack.hpp"

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
      const auto found = operations::known().find(c.operation);
      if (found == operations::known().end()) continue;
      const auto folder = std::filesystem::path(argv[2]) / c.name / "out";
      std::filesystem::create_directories(folder);
      for (const auto &[name, tensor] : found->second(c, options))
        pack::write_npy((folder / (name + ".npy")).string(), tensor);
      ++done;
    }
    std::cerr << done << " of " << cases.size() << " cases were computed\n";
  } catch (const std::exception &error) {
    std::cerr << "error: " << error.what() << "\n";
    return 2;
  }
  return 0;
}
