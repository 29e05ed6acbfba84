// A C program with Go code in it: says that it is ready, and runs until its standard input ends.
#include <stdio.h>

extern void Start(int count);

int main(void) {
	Start(5);
	printf("ready\n");
	fflush(stdout);
	while (getchar() != EOF) {
	}
	return 0;
}
