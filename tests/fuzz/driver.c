/* Runs a fuzz target over the files of the folders given, so that the kept corpus is an ordinary
 * test with any compiler. Inputs lie in exact-size blocks, where AddressSanitizer sees each byte
 * too far. */
#include "fuzz.h"
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

static int n_inputs;

static void run_file(const char *path)
{
        struct stat info;
        if (stat(path, &info) != 0 || !S_ISREG(info.st_mode))
                return;
        FILE *file = fopen(path, "rb");
        MUST(file);
        size_t size = (size_t)info.st_size;
        uint8_t *data = malloc(size ? size : 1);
        MUST(data && fread(data, 1, size, file) == size);
        fclose(file);
        LLVMFuzzerTestOneInput(data, size);
        free(data);
        n_inputs++;
}

static void run_folder(const char *folder)
{
        struct dirent **entries;
        int n = scandir(folder, &entries, NULL, alphasort);
        if (n < 0) {
                perror(folder);
                exit(1);
        }
        for (int i = 0; i < n; i++) {
                char path[4096];
                snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
                run_file(path);
                free(entries[i]);
        }
        free(entries);
}

int main(int argc, char **argv)
{
        for (int i = 1; i < argc; i++)
                run_folder(argv[i]);
        printf("%d inputs\n", n_inputs);
        return n_inputs == 0;
}
