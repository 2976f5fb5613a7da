# guest program
