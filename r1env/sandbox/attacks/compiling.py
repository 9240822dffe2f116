"""Sources that attack the compiler: its time, its memory, its view of files, what it writes."""

from r1env.sandbox.attacks.attack import Attack

FAMILY = "compiling"

ATTACKS = (
    Attack(
        name="templates-without-end", family=FAMILY, language="cpp",
        aim="templates whose number doubles with each level",
        source=r"""
template <int N, int M> struct Tree { static const int value = Tree<N - 1, 2 * M>::value + Tree<N - 1, 2 * M + 1>::value; };
template <int M> struct Tree<0, M> { static const int value = M; };
int main() { return Tree<28, 1>::value; }
""",
    ),
    Attack(
        name="include-of-devices", family=FAMILY, language="cpp",
        aim="sources that never end: devices and itself, twice at each level",
        source=r"""
#if __INCLUDE_LEVEL__ < 180
#include __FILE__
#include __FILE__
#endif
#include "/dev/zero"
#include "/dev/urandom"
#include "/dev/stdin"
int main() {}
""",
    ),
    Attack(
        name="include-of-secrets", family=FAMILY, language="cpp",
        aim="secrets in the compiler's messages",
        source=r"""
#include "@SECRET_FILE@"
#include "@SHARED_FILE@"
#include "/etc/shadow"
#include "/proc/self/environ"
int main() {}
""",
    ),
    Attack(
        name="incbin-of-secrets", family=FAMILY, language="cpp",
        aim="secrets taken into the executable by the assembler, and printed when it runs",
        source=r"""
__asm__(".section .rodata\n.global taken\ntaken:\n.incbin \"@SECRET_FILE@\"\n.byte 0\n.text\n");
extern const char taken[];
int main() { puts(taken); escaped(taken); }
""",
    ),
    Attack(
        name="incbin-of-the-environment", family=FAMILY, language="cpp",
        aim="the compiler's environment and descriptors taken into the executable",
        source=r"""
__asm__(".section .rodata\n.global taken\ntaken:\n.incbin \"/proc/self/environ\"\n.byte 0\n.text\n");
extern const char taken[];
int main() { for (int i = 0; i < 4000; i++) if (!memcmp(taken + i, "R1_" "BAIT", 7)) escaped(taken + i); }
""",
    ),
    Attack(
        name="huge-executable", family=FAMILY, language="cpp",
        aim="an executable of gigabytes",
        source=r"""
char one[1 << 30] = {1};
char two[1 << 30] = {2};
int main() { return one[5] + two[7]; }
""",
    ),
    Attack(
        name="assembler-bomb", family=FAMILY, language="cpp",
        aim="the assembler told to repeat without end",
        source=r"""
__asm__(".rept 100000\n.rept 100000\nnop\n.endr\n.endr\n");
int main() {}
""",
    ),
    Attack(
        name="messages-without-end", family=FAMILY, language="cpp",
        aim="gigabytes of error messages",
        source=r"""
#define A(x) x x x x x x x x x x
#define B(x) A(A(A(x)))
#define C(x) B(B(x))
int main() { C(undeclared + "y"; ) }
""",
    ),
    Attack(
        name="constant-expression-without-end", family=FAMILY, language="cpp",
        aim="a computation without end in the compiler instead of the program",
        source=r"""
constexpr unsigned long spin(unsigned long n) { unsigned long s = 0; for (unsigned long i = 0; i < n; i++) for (unsigned long j = 0; j < 262143; j++) s += j ^ i; return s; }
template <int N> struct Spin { static constexpr unsigned long value = spin(100) + Spin<N - 1>::value; };
template <> struct Spin<0> { static constexpr unsigned long value = 0; };
int main() { return Spin<800>::value; }
""",
    ),
    Attack(
        name="assembler-writes", family=FAMILY, language="cpp",
        aim="files of the assembler's and the linker's, and a linker's script in the source",
        source=r"""
__asm__(".file \"@DIRECTORY@/r1leftover.s\"\n.section .drectve\n.ascii \"-o @DIRECTORY@/r1leftover\"\n.text\n");
#pragma GCC dump "@DIRECTORY@/r1leftover"
#pragma GCC pch_preprocess "@SECRET_FILE@"
int main() {}
""",
    ),
)  # fmt: skip
