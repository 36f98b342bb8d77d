/* SPDX-License-Identifier: Apache-2.0
 * Makes known numbers of system calls: PROCESSES children, each with THREADS threads one after the
 * other, each of them with 100 getppid, 200 one-byte writes and 50 reads that fail. */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fcntl.h>

static int sink;

static void *work(void *unused)
{
    char byte = 0;
    for (int i = 0; i < 100; i++)
        syscall(SYS_getppid);
    for (int i = 0; i < 200; i++)
        syscall(SYS_write, sink, &byte, 1);
    for (int i = 0; i < 50; i++)
        syscall(SYS_read, -1, &byte, 1);
    return unused;
}

int main(int argc, char **argv)
{
    int processes = argc > 1 ? atoi(argv[1]) : 3, threads = argc > 2 ? atoi(argv[2]) : 2;
    sink = open("/dev/null", O_WRONLY);
    for (int i = 0; i < processes; i++) {
        pid_t child = fork();
        if (child == 0) {
            for (int j = 0; j < threads; j++) {
                pthread_t thread;
                if (pthread_create(&thread, NULL, work, NULL) != 0)
                    _exit(1);
                pthread_join(thread, NULL);
            }
            _exit(0);
        }
        int status;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
            return 1;
    }
    return 0;
}
