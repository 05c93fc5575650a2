package runner

var preloadedR = []same{
	{name: "what it is", prints: "main.r", args: []string{"one", "zwei ü", ""}, text: `
print(commandArgs())
print(commandArgs(trailingOnly = TRUE))
print(search()); print(loadedNamespaces()); print(ls(all.names = TRUE)); print(ls(baseenv(), all.names = TRUE)[1:20])
print(.Last.value); print(Sys.getenv()); print(getwd()); print(list.files(all.files = TRUE)); print(interactive())
print(names(getLoadedDLLs())); print(sessionInfo()); print(sapply(options(), class)); print(getOption("defaultPackages"))
print(exists(".Random.seed")); print(length(showConnections(all = TRUE))); print(environment()); print(sys.calls()); print(warnings())
print(is.function(commandArgs)); print(gc.time()); print(l10n_info()); print(Sys.getlocale()); print(.libPaths()); print(basename(dirname(tempdir())))
print(tryCatch(sys.frame(0)$ofile, error = identity)); print(nchar(Sys.time()) > 0); print(search()[1])
`},
	{name: "no arguments", prints: "character(0)", text: "print(commandArgs()); print(commandArgs(TRUE))\n"},
	{name: "siblings", prints: "helper", text: "source('helper.r')\ncat(x, '\\n')\nprint(f)\nsource('none.r')\ncat('never\\n')\n", files: []File{{"helper.r", "x <- 'helper'\nf <- function(a) { a + 1 } # kept\n"}}},
	{name: "an error", prints: "Error in f(1)", text: "f <- function(x) {\n  stop('wrong: ', x)\n}\ntryCatch(f(0), error = function(e) print(conditionMessage(e)))\nf(1)\ncat('never')\n"},
	{name: "an error within", prints: "Calls:", text: "f <- function() g()\ng <- function() log(-1:2, 'a')\nwithCallingHandlers(f(), warning = print)\n"},
	{name: "warnings", prints: "Warning", text: "warning('top')\nf <- function() { warning('in'); as.integer('x') }\nf()\ncat('goes on\\n')\nx <- 1:3 + 1:2\n"},
	{name: "a syntax error", prints: "unexpected", text: "cat('first\\n')\nx <- (1 + \n}\ncat('never')\n"},
	{name: "values shown", prints: "[1] 2", text: "1 + 1\nx <- c(a = 1, b = 2)\nx\ninvisible(3)\nsummary(c(1, 2, 3))\ndata.frame(a = 1:2, b = c('x', 'ü'))\n.Last.value\nfunction(x) x # shown\n"},
	{name: "quit", prints: "last", text: ".Last <- function() cat('last\\n')\nreg.finalizer(globalenv(), function(e) cat('final\\n'), onexit = TRUE)\nquit(status = 7)\n"},
	{name: "quit without", text: ".Last <- function() cat('last\\n')\nq('no', 3, FALSE)\n"},
	{name: "a profile of its own", prints: "of the profile 5", args: []string{"a"}, text: "cat('of the profile', y, '\\n'); print(commandArgs()); print(Sys.getenv('R_PROFILE_USER')); print(Sys.getenv('MINE')); print(ls())\n", files: []File{{".Rprofile", "y <- 5\n"}}},
	{name: "an environment of its own", prints: "yes", text: "print(Sys.getenv('MINE')); print(Sys.getenv())\n", files: []File{{".Renviron", "MINE=yes\n"}}},
	{name: "data that was saved", prints: "character(0)", text: "print(ls())\n", files: []File{{".RData", "nothing"}}},
	{name: "typed", prints: "Hello, Ada", typed: []typed{{"name? ", "Ada\n"}, {"age? ", "36\n"}}, eof: true, text: "con <- file('stdin')\nopen(con)\ncat('name? ')\ncat('Hello, ', readLines(con, 1), '\\n', sep = '')\ncat('age? ')\nprint(as.integer(readLines(con, n = 1)))\nprint(readLines(con))\nprint(readline('x? '))\nprint(readLines(stdin(), 1))\nthis line is data\n"},
	{name: "all that was typed", only: ModePipes, prints: "6", typed: []typed{{"", "1 2\n3"}}, eof: true, text: "print(sum(scan(file('stdin'), quiet = TRUE)))\n"},
	{name: "packages", prints: "loaded", text: "library(stats4); library(parallel); library(methods)\nsetClass('P', representation(x = 'numeric'))\nprint(new('P', x = 1))\nprint(try(library(none), silent = TRUE))\nsuppressWarnings(require(none))\nprint(unlist(mclapply(1:3, function(i) i^2, mc.cores = 2)))\nprint(environmentName(environment(sd)))\ncat('loaded\\n')\nset.seed(1); print(runif(2)); print(lm(dist ~ speed, cars))\n"},
	{name: "other programs", prints: "of sh", text: "system('echo of sh; env | grep -v ^_= | grep -v R_SESSION_TMPDIR | sort; ls /proc/self/fd | wc -l')\nprint(system2('sh', c('-c', '\"exit 3\"')))\nsystem('Rscript -e \"commandArgs(TRUE); search()\" x')\n"},
	{name: "streams", prints: "ü", text: "cat('ü\\n'); message('to stderr'); print('x'); cat('no end'); write('e', stderr())\nprint(isatty(stdin())); print(isatty(stdout())); print(length(list.files('/proc/self/fd')) < 12); print(file.exists('/proc/self/fd/255'))\nprint(readLines('/proc/self/cmdline', warn = FALSE, skipNul = TRUE)); print(readLines('/proc/self/comm'))\nprint(grep('^(Sig|Shd|Cap|Umask|Threads)', readLines('/proc/self/status'), value = TRUE)); print(any(grepl('corun', readLines('/proc/self/maps'))))\nprint(length(list.files('/proc/self/fd')))\n"},
	{name: "a plot", prints: "Rplots.pdf", text: "plot(1:3)\ninvisible(dev.off())\nprint(list.files())\n"},
	{name: "deep", prints: "Error", text: "f <- function(n) f(n + 1)\nr <- tryCatch(f(0), error = function(e) cat(class(e), '\\n'))\nstop('Error')\n"},
	{name: "no line's end", prints: "[1] 5", text: "5"},
	{name: "two bytes end lines", prints: "[1] 5", text: "x <- 5\r\nprint(x)\r\n"},
	{name: "a signal", text: "tools::pskill(Sys.getpid(), 15)\nSys.sleep(1000)\n"},
	{name: "an interrupt", prints: "caught", text: "tryCatch({ tools::pskill(Sys.getpid(), 2); Sys.sleep(1000) }, interrupt = function(e) cat('caught\\n'))\ntools::pskill(Sys.getpid(), 2)\nSys.sleep(1000)\ncat('goes on\\n')\n"},
}
