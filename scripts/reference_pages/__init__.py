"""The pages of docs/reference, each a pure function of the code: no time, no machine, no terminal width goes into one."""
