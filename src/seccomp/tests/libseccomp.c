/* Filters made by libseccomp, the way runc makes them, to compare with.
 *
 * libseccomp NAME...: prints those of the names that it knows.
 * libseccomp: reads profiles, one after the other, in numbers of <seccomp.h>:
 *     filter DEFAULT X86 X32
 *     rule ACTION NAME CONDITIONS [ARGUMENT OPERATOR A B]...
 *     end
 * and prints for each its length, 0 if it refuses the profile, and the instructions. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/filter.h>
#include <seccomp.h>

static void must(int result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "%s: %s\n", what, strerror(-result));
		exit(1);
	}
}

static scmp_filter_ctx begin(void)
{
	uint32_t action;
	int x86, x32;
	scmp_filter_ctx filter;

	if (scanf("%" SCNu32 "%d%d", &action, &x86, &x32) != 3 || !(filter = seccomp_init(action)))
		must(-EINVAL, "filter");
	must(seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "bad arch");
	must(seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2), "optimize");
	if (x86)
		must(seccomp_arch_add(filter, SCMP_ARCH_X86), "x86");
	if (x32)
		must(seccomp_arch_add(filter, SCMP_ARCH_X32), "x32");
	return filter;
}

static int rule(scmp_filter_ctx filter)
{
	uint32_t action;
	char name[64];
	unsigned count, at;
	struct scmp_arg_cmp conditions[6];

	if (scanf("%" SCNu32 "%63s%u", &action, name, &count) != 3 || count > 6)
		must(-EINVAL, "rule");
	for (at = 0; at < count; at++) {
		unsigned op;
		struct scmp_arg_cmp *to = &conditions[at];
		if (scanf("%u%u%" SCNu64 "%" SCNu64, &to->arg, &op, &to->datum_a, &to->datum_b) != 4)
			must(-EINVAL, "condition");
		to->op = op;
	}
	return seccomp_rule_add_array(filter, action, seccomp_syscall_resolve_name(name), count, conditions);
}

static void print(scmp_filter_ctx filter)
{
	FILE *program = tmpfile();
	struct sock_filter one;

	if (!program)
		must(-errno, "temporary file");
	must(seccomp_export_bpf(filter, fileno(program)), "export");
	printf("%ld\n", (long)lseek(fileno(program), 0, SEEK_END) / (long)sizeof(one));
	rewind(program);
	while (fread(&one, sizeof(one), 1, program) == 1)
		printf("%u %u %u %u\n", one.code, one.jt, one.jf, one.k);
	fclose(program);
}

int main(int argc, char **argv)
{
	char word[16];
	scmp_filter_ctx filter = NULL;
	int refused = 0;

	for (; argc > 1; argc--)
		if (seccomp_syscall_resolve_name(argv[argc - 1]) != __NR_SCMP_ERROR)
			puts(argv[argc - 1]);
	/* All actions, whatever this kernel has. */
	must(seccomp_api_set(6), "API level");
	while (scanf("%15s", word) == 1) {
		if (!strcmp(word, "filter")) {
			filter = begin();
			refused = 0;
		} else if (!strcmp(word, "rule")) {
			refused |= rule(filter) < 0;
		} else {
			if (refused)
				puts("0");
			else
				print(filter);
			seccomp_release(filter);
		}
	}
	return 0;
}
