// What the thread sanitizer cannot know of libraries that were not compiled for it.

// cpp-httplib keeps constant tables and patterns in statics of its functions. The lock under which
// the first thread makes one is inlined code of the library, which the sanitizer does not see. It
// does see memcpy and memcmp of what lies in the table, and the matcher of a pattern, which is the
// standard library's template.
extern "C" const char* __tsan_default_suppressions() {
  return "called_from_lib:libcpp-httplib.so\n"
         "race:^std::__detail::_BracketMatcher\n";
}
