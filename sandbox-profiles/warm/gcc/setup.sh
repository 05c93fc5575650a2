#!/bin/sh
# Makes what compiles C or C++ in an image: precompiled headers, and the driver that
# chooses among them (driver.c), which takes the place of the script of that name.
# usage: setup.sh c|cpp
set -eu
language=$1
here=/opt/corun/gcc
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

case $language in
c)
	gcc=/usr/bin/gcc kind=c-header flags='-std=gnu17 -Wall' libraries=-lMATH
	# Reading the usual headers is no slower than loading them.
	sets=
	;;
cpp)
	gcc=/usr/bin/g++ kind=c++-header flags='-std=gnu++20 -O1 -Wall' libraries=
	# A set a line, the best first. With a header come all that it includes: vector,
	# functional and unordered_map with algorithm, string with iostream.
	sets='bits/stdc++.h
iostream algorithm map
iostream algorithm
iostream unordered_map
iostream cmath
iostream map
iostream vector
iostream'
	;;
esac

# words LINE: the words of a line that a shell could run, as C has them.
words() {
	eval "set -- $1"
	for word; do
		printf '\t"%s",\n' "$(printf %s "$word" | sed 's/[\\"]/\\&/g')"
	done
}

# said PATTERN ARGUMENT...: the command that gcc would run, of those the one like PATTERN.
said() {
	pattern=$1
	shift
	# shellcheck disable=SC2086 # a list of flags
	line=$(LC_ALL=C $gcc -### $flags "$@" 2>&1 | grep -- "$pattern")
	printf %s "${line% |}"
}

: >IN.c
: >IN.cpp
: >IN.o
source=IN.${language}
linker=$(command -v ld.gold || command -v ld) # the fastest for small programs
{
	echo 'static const char *const compile[] = {'
	words "$(said '^ .* -quiet ' -pipe -include INCLUDE -c "$source" -o OUT)" |
		sed -e '/^\t"-include",$/d' -e "s/\"$source\",\$/\"IN\",/" -e '/^\t"-dumpbase.*",$/,+1d'
	echo '	NULL};'
	echo 'static const char *const assemble[] = {'
	words "$(said '^ [^ ]*as ' -pipe -c "$source" -o OUT)" | sed "1s|\".*\"|\"$(command -v as)\"|"
	echo '	NULL};'
	echo 'static const char *const link_[] = {'
	# shellcheck disable=SC2086
	words "$(said '^ [^ ]*collect2 ' -fno-use-linker-plugin IN.o -o OUT $libraries)" |
		sed -e "1s|\".*\"|\"$linker\"|" -e 's/"IN.o",$/"IN",/' -e 's/"-lMATH",$/"MATH",/'
	echo '	NULL};'
	echo 'static const struct set sets[] = {'
	echo "$sets" | while read -r set; do
		[ -n "$set" ] || continue
		printf '\t{"%s", {' "$here/headers/$(echo "$set" | tr ' /' '+_')"
		printf '"%s", ' $set
		echo 'NULL}},'
	done
	echo '	{NULL, {NULL}}};'
} >commands.h

if [ -n "$sets" ]; then
	mkdir -p "$here/headers"
	$gcc -shared -fPIC -O1 -fno-rtti -o instantiate.so "$here/instantiate.cc"
	instantiate=-fplugin=./instantiate.so
	echo '#pragma corun instantiate' >try.h
	# shellcheck disable=SC2086
	$gcc $flags -Werror $instantiate -x $kind try.h -o try.gch 2>/dev/null || instantiate=
	echo "$sets" | while read -r set; do
		header=$here/headers/$(echo "$set" | tr ' /' '+_')
		printf '#include <%s>\n' $set >"$header"
		# The program's compiler reads what it finds in the header, if it cannot use what
		# is precompiled; it does not know the pragma.
		{
			cat "$header"
			[ -z "$instantiate" ] || echo '#pragma corun instantiate'
		} >precompiled.h
		# shellcheck disable=SC2086
		$gcc $flags $instantiate -x $kind precompiled.h -o "$header.gch"
		# shellcheck disable=SC2086 # and that it can be used
		$gcc $flags -Winvalid-pch -Werror -include "$header" -fsyntax-only IN.cpp
	done
fi

/usr/bin/gcc -O2 -shared -fPIC -DREADY=200 -o "$here/ready.so" "$here/ready.c"
/usr/bin/gcc -O2 -static -Wall -Wextra -DREADY=200 -DREADY_LIBRARY="\"$here/ready.so\"" -I. -o driver "$here/driver.c"
echo 'int main(void) { return 0; }' >"try.$language"
./driver tried "try.$language"
./tried
install -m 0755 driver "$here/$language"
