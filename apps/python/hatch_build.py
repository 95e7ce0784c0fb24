"""Puts an installed dfengine (the prefix in DFENGINE_PREFIX, built with BUILD_SHARED_LIBS) into the wheel."""
import glob
import os
import sysconfig

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):
    def initialize(self, version, build_data):
        prefix = os.environ.get("DFENGINE_PREFIX", "")
        libraries = sorted(glob.glob(f"{prefix}/lib*/**/libdfengine.so.?", recursive=True))
        program = f"{prefix}/bin/dfengine"
        if not libraries or not os.path.exists(program):
            raise RuntimeError(f"DFENGINE_PREFIX is '{prefix}': no libdfengine.so and bin/dfengine there; configure "
                               "with -DBUILD_SHARED_LIBS=ON, build, and cmake --install to it")
        build_data["force_include"][os.path.realpath(libraries[0])] = "dfengine/libdfengine.so"
        build_data["force_include"][program] = "dfengine/bin/dfengine"
        # One wheel for every Python: it speaks to the library through ctypes.
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
