// The least that a C++ program of yours needs to classify pictures.
// Usage: classify_cpp MODEL PICTURE...
#include <cstdio>
#include <dfengine.hpp>

int main(int argc, char** argv) try {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s MODEL PICTURE...\n", argv[0]);
    return 2;
  }
  const df::Model model(argv[1]);
  df::Session session(model);
  std::vector<df_picture> pictures;
  for (int i = 2; i < argc; ++i) pictures.push_back(df::file(argv[i]));
  const df::Results results = session.classify(pictures);
  int unreadable = 0;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const df_result& r = results[i];
    if (r.status == DF_OK) {
      std::printf("%.17g %s %s\n", r.probability, r.verdict, argv[i + 2]);
    } else {
      std::fprintf(stderr, "%s\n", r.error);
      ++unreadable;
    }
  }
  return unreadable == 0 ? 0 : DF_BAD_DATA;
} catch (const df::Error& e) {
  std::fprintf(stderr, "%s: %s\n", argv[0], e.what());
  return e.status();
}
