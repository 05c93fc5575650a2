# Starts R ahead of its program. The command is that of a program without arguments
# (Rscript main.r), with this file as the user's profile (R_PROFILE_USER), which R evaluates
# when it has opened its file and not read it yet. What R would load next is loaded here;
# preload.c then waits for the program, and all that tells of this is taken back.
local({
  last <- .Last.value
  .First.sys()
  ours <- dyn.load("/opt/corun/r/preload.so")
  .C(getNativeSymbolInfo("corun_wait", ours)$address)
  rm(ours)
  dyn.unload("/opt/corun/r/preload.so")
  Sys.unsetenv("R_PROFILE_USER")
  invisible(last)
})
