/* step INODE PROGRAM ARGUMENT...: executes a program instruction by instruction, with the processes that
 * it makes, as long as they run the file with this inode number. Writes to descriptor 3 the addresses of
 * the instructions in the order of their first execution, one on a line, counted from where the file is
 * mapped. x86_64 only. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 1 << 24, MOST = 64 };

static struct { pid_t pid; unsigned long start, end; } known[MOST];
static int count;
static unsigned char seen[SIZE];
static unsigned order[SIZE], found;

static int place(pid_t pid) {
    for (int i = 0; i < count; i++)
        if (known[i].pid == pid) return i;
    if (count == MOST) exit(1);
    known[count].pid = pid;
    return -1 - count++;
}

/* Where the process has the file mapped; 0 if it runs another one. */
static int find(int i, unsigned long inode) {
    char path[32], line[512];
    snprintf(path, sizeof path, "/proc/%d/maps", known[i].pid);
    FILE *maps = fopen(path, "r");
    known[i].start = known[i].end = 0;
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long start, end, number;
        if (sscanf(line, "%lx-%lx %*s %*s %*s %lu", &start, &end, &number) == 3 && number == inode) {
            if (!known[i].start) known[i].start = start;
            known[i].end = end;
        }
    }
    if (maps) fclose(maps);
    return known[i].start != 0;
}

/* Lets the processes go that outlive the first one: a pending single step would kill them. */
static void leave(pid_t first) {
    for (int i = 0; i < count; i++) {
        int status;
        if (!known[i].pid || known[i].pid == first || kill(known[i].pid, SIGSTOP)) continue;
        if (waitpid(known[i].pid, &status, __WALL) > 0 && WIFSTOPPED(status))
            ptrace(PTRACE_DETACH, known[i].pid, 0, 0);
    }
}

int main(int argc, char **argv) {
    unsigned long inode = argc > 2 ? strtoul(argv[1], NULL, 10) : 0;
    int status, code = 1;
    pid_t pid, first = fork();
    if (first == 0) {
        close(3);
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        execv(argv[2], argv + 2);
        _exit(127);
    }
    waitpid(first, &status, 0);
    ptrace(PTRACE_SETOPTIONS, first, 0,
           PTRACE_O_TRACEEXEC | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK);
    place(first);
    ptrace(PTRACE_CONT, first, 0, 0);
    while ((pid = waitpid(-1, &status, __WALL)) > 0) {
        int i = place(pid);
        if (!WIFSTOPPED(status)) {
            known[i < 0 ? -1 - i : i].pid = 0;
            if (pid != first) continue;
            code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
            break;
        }
        int stop = WSTOPSIG(status), event = status >> 16;
        if (event == PTRACE_EVENT_EXEC || i < 0) {
            i = i < 0 ? -1 - i : i;
            if (!find(i, inode)) {
                ptrace(PTRACE_DETACH, pid, 0, 0);
                known[i].pid = 0;
                continue;
            }
        } else if (stop == SIGTRAP && !event) {
            struct user_regs_struct registers;
            ptrace(PTRACE_GETREGS, pid, 0, &registers);
            unsigned long at = registers.rip - known[i].start;
            if (registers.rip >= known[i].start && registers.rip < known[i].end && at < SIZE && !seen[at]) {
                seen[at] = 1;
                order[found++] = at;
            }
        }
        ptrace(PTRACE_SINGLESTEP, pid, 0, stop == SIGTRAP || stop == SIGSTOP ? 0 : stop);
    }
    leave(first);
    FILE *out = fdopen(3, "w");
    for (unsigned i = 0; out && i < found; i++) fprintf(out, "%x\n", order[i]);
    if (out) fclose(out);
    return code;
}
