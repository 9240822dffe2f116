"""C++ by g++, compiled once for all runs."""

from __future__ import annotations

from r1env.judge.languages.base import Language

CPP = Language(
    name="cpp",
    title="C++",
    tags=("c++", "cc", "cxx", "cpp17", "cpp20", "c++17", "c++20"),
    signs=("#include", "int main(", "std::", "cout <<", "cin >>", "using namespace", "vector<", "->"),
    suffix=".cpp",
    compile=("g++", "-std=c++17", "-O2", "-pipe", "-w", "-o", "{binary}", "{source}"),
)
