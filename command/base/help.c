/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* help: lays out what the verbs say of themselves, as plain text and as mdoc. Its words are the
 * general ones; each verb has its own. */
#include "base/help.h"

#include <string.h>

#include "base/report.h"

static const struct exit_row exits[] = {
	{EXIT_DONE, "done"},
	{EXIT_NOT_YET, "not yet, or timed out"},
	{EXIT_USAGE, "usage error"},
	{EXIT_REFUSED, "refused: by a guard rail, or because the node set is malformed"},
	{EXIT_FAILED, "failed, or no process could be asked"},
	{EXIT_UNANNOUNCED, "a node is running and not announced"},
	{EXIT_ROSTER, "fewer processes than the roster expects, or no roster"},
	{EXIT_QUARANTINED, "done, but unusable nodes were left out"},
	{0, NULL},
};

static const char directory_text[] =
	"Processes are found by their sockets in the control directory: --control, else "
	"$SAFESTART_CONTROL, else /run/safestart. It is the setting `control` of libsafestart.";

/* Prints text wrapped at column 78, each line indented by `indent`; the first line begins at
 * `column`. An empty line separates paragraphs. */
static void print_wrapped(FILE *to, const char *text, int indent, int column)
{
	for (const char *word = text; *word != '\0';) {
		size_t length = strcspn(word, " \n");
		int wide = 0;
		/* Characters, not bytes: all that the help uses are one column wide. */
		for (size_t i = 0; i < length; i++)
			wide += (word[i] & 0xc0) != 0x80;
		if (column > indent && column + 1 + wide > 78) {
			fputc('\n', to);
			column = 0;
		}
		column += fprintf(to, "%*s", column > indent ? 1 : indent - column, "");
		fwrite(word, 1, length, to);
		column += wide;
		word += length;
		if (word[0] == '\n') {
			fputs(word[1] == '\n' ? "\n\n" : "\n", to);
			column = 0;
		}
		word += strspn(word, " \n");
	}
	fputc('\n', to);
}

void help_all(const struct verb *const *verbs, FILE *to)
{
	fputs("usage: safestart VERB [OPTION...] [ARGUMENT...]\n\n"
	      "Show and control every process on this host that uses libsafestart.\n\n",
	      to);
	for (const struct verb *const *verb = verbs; *verb != NULL; verb++) {
		if ((*verb)->help != NULL)
			fprintf(to, "  %-10s %s\n", (*verb)->name, (*verb)->help);
	}
	fputs("\nFor one verb, with examples: safestart help VERB. For the version: safestart "
	      "--version.\n\n",
	      to);
	print_wrapped(to, directory_text, 0, 0);
	fputs("\nexit codes\n", to);
	for (const struct exit_row *row = exits; row->meaning != NULL; row++)
		fprintf(to, "  %d  %s\n", row->code, row->meaning);
}

static bool has_option(const struct verb *verb, const char *name)
{
	for (const struct option_row *row = verb->options; row != NULL && row->name != NULL;
	     row++) {
		if (strcmp(row->name, name) == 0)
			return true;
	}
	return false;
}

/* Name and value in a column of their own, the text behind it. */
static void help_option(FILE *to, const struct option_row *row)
{
	char name[64];

	snprintf(name, sizeof(name), "--%s%s%s", row->name, row->argument != NULL ? " " : "",
		 row->argument != NULL ? row->argument : "");
	print_wrapped(to, row->help, 25, fprintf(to, "  %-22s", name));
}

void help_verb(const struct verb *verb, FILE *to)
{
	fprintf(to, "usage: safestart %s%s%s%s\n\n", verb->name,
		verb->options != NULL ? " [OPTION...]" : "", verb->arguments != NULL ? " " : "",
		verb->arguments != NULL ? verb->arguments : "");
	print_wrapped(to, verb->text != NULL ? verb->text : verb->help, 0, 0);
	if (verb->options != NULL)
		fputs("\noptions\n", to);
	for (const struct option_row *row = verb->options; row != NULL && row->name != NULL; row++)
		help_option(to, row);
	if (verb->examples[0] != NULL)
		fputs("\nexamples\n", to);
	for (size_t i = 0; verb->examples[i] != NULL && verb->examples[i + 1] != NULL; i += 2)
		fprintf(to, "  %s:\n    $ %s\n", verb->examples[i], verb->examples[i + 1]);
	if (verb->exits[0].meaning != NULL)
		fputs("\nexit codes\n", to);
	for (const struct exit_row *row = verb->exits; row->meaning != NULL; row++)
		print_wrapped(to, row->meaning, 7, fprintf(to, "  %-3d", row->code));
	if (has_option(verb, "control")) {
		fputc('\n', to);
		print_wrapped(to, directory_text, 0, 0);
	}
}

/* ---- The man page ---- */

/* Escapes what roff would interpret: a leading dot or quote, backslashes, and hyphens, which it may
 * turn into dashes. */
static void roff_word(FILE *to, const char *word, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (i == 0 && (word[i] == '.' || word[i] == '\''))
			fputs("\\&", to);
		if (word[i] == '\\')
			fputs("\\e", to);
		else if (word[i] == '-')
			fputs("\\-", to);
		else
			fputc(word[i], to);
	}
}

/* A dot or a quote begins a roff request only at the start of a line. Each sentence starts on a
 * line of its own, and lines are short: mandoc -Tlint asks for both. */
static void roff(FILE *to, const char *text)
{
	size_t column = 0;

	for (const char *word = text; *word != '\0';) {
		size_t length = strcspn(word, " \n"), blanks;
		if (column > 0 && column + length > 72) {
			fputc('\n', to);
			column = 0;
		}
		fputs(column > 0 ? " " : "", to);
		roff_word(to, word, length);
		column += length + 1;
		bool ends =
			length > 0 &&
			strchr(".?!",
			       word[length - (length > 1 && word[length - 1] == ')' ? 2 : 1)]) !=
				NULL;
		word += length;
		blanks = strspn(word, " \n");
		if (blanks == 2 && word[0] == '\n')
			fputs("\n.Pp\n", to);
		else if (ends && blanks > 0)
			fputc('\n', to);
		column = ends || (blanks == 2 && word[0] == '\n') ? 0 : column;
		word += blanks;
	}
	fputc('\n', to);
}

static void man_option(FILE *to, const struct option_row *row)
{
	fprintf(to, ".It Fl Fl %s%s%s\n", row->name, row->argument != NULL ? " Ar " : "",
		row->argument != NULL ? row->argument : "");
	roff(to, row->help);
}

static void man_verb(FILE *to, const struct verb *verb)
{
	fprintf(to, ".Ss %s", verb->name);
	if (verb->arguments != NULL)
		fprintf(to, " %s", verb->arguments);
	fputc('\n', to);
	roff(to, verb->text != NULL ? verb->text : verb->help);
	if (verb->options != NULL)
		fputs(".Bl -tag -width Ds\n", to);
	for (const struct option_row *row = verb->options; row != NULL && row->name != NULL; row++)
		man_option(to, row);
	if (verb->options != NULL)
		fputs(".El\n", to);
	if (verb->exits[0].meaning != NULL)
		fputs(".Pp\nExit codes:\n.Bl -tag -width Ds -compact\n", to);
	for (const struct exit_row *row = verb->exits; row->meaning != NULL; row++) {
		fprintf(to, ".It %d\n", row->code);
		roff(to, row->meaning);
	}
	if (verb->exits[0].meaning != NULL)
		fputs(".El\n", to);
}

/* All examples of all verbs, as the section of the page expects them. */
static void man_examples(const struct verb *const *verbs, FILE *to)
{
	const char *before = ".Sh EXAMPLES\n";

	for (const struct verb *const *verb = verbs; *verb != NULL; verb++) {
		for (size_t i = 0; (*verb)->help != NULL && (*verb)->examples[i] != NULL &&
				   (*verb)->examples[i + 1] != NULL;
		     i += 2) {
			fputs(before, to);
			roff(to, (*verb)->examples[i]);
			fputs(".Dl $ ", to);
			roff_word(to, (*verb)->examples[i + 1], strlen((*verb)->examples[i + 1]));
			fputc('\n', to);
			before = ".Pp\n";
		}
	}
}

void help_man(const struct verb *const *verbs, FILE *to)
{
	fputs(".Dd " SAFESTART_RELEASED
	      "\n.Dt SAFESTART 1\n.Os libsafestart\n.Sh NAME\n.Nm safestart\n"
	      ".Nd show and control every process that uses libsafestart\n.Sh SYNOPSIS\n.Nm\n.Ar "
	      "verb\n.Op Ar option ...\n.Op Ar argument ...\n"
	      ".Sh DESCRIPTION\n",
	      to);
	roff(to, directory_text);
	for (const struct verb *const *verb = verbs; *verb != NULL; verb++) {
		if ((*verb)->help != NULL)
			man_verb(to, *verb);
	}
	fputs(".Sh ENVIRONMENT\n.Bl -tag -width Ds\n"
	      ".It Ev SAFESTART_CONTROL\nthe control directory, if\n.Fl Fl control\nis not given.\n"
	      ".It Ev SAFESTART_NODES\nthe node file, if\n.Fl Fl file\nis not given.\n"
	      ".It Ev NO_COLOR\nif it is set, output has no colours.\n.El\n.Sh EXIT STATUS\n.Bl "
	      "-tag -width Ds -compact\n",
	      to);
	for (const struct exit_row *row = exits; row->meaning != NULL; row++) {
		fprintf(to, ".It %d\n", row->code);
		roff(to, row->meaning);
	}
	fputs(".El\n", to);
	man_examples(verbs, to);
}
