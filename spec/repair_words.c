/* Values as a hint writes them: short, on one line, as YAML that can be pasted. */
#include "spec/repair.h"
#include "spec/values.h"
#include <stddef.h>
#include <stdio.h>
#include <string.h>

void spec_words_put(struct spec_words *w, const char *s)
{
    int k = snprintf(w->text + w->n, sizeof w->text - w->n, "%s", s);
    w->n += (size_t)k;
    if (w->n >= sizeof w->text)
        w->n = sizeof w->text - 1;
}

void spec_words_text(struct spec_words *w, const char *s)
{
    bool plain = *s && s[strcspn(s, " ,[]{}#&*!|>'\"%@`\t\n")] == 0 && *s != '-' && *s != '?' &&
                 *s != ':' && s[strlen(s) - 1] != ':';
    if (plain) {
        spec_words_put(w, s);
        return;
    }
    spec_words_put(w, "\"");
    for (char c[3] = ""; *s; s++) {
        snprintf(c, sizeof c, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
        spec_words_put(w, c);
    }
    spec_words_put(w, "\"");
}

void spec_words_node(struct spec_words *w, const struct spec_node *v, unsigned depth)
{
    if (v->type == SPEC_SCALAR) {
        spec_words_text(w, v->text);
        return;
    }
    if (depth > 3) {
        spec_words_put(w, "…");
        return;
    }
    spec_words_put(w, v->type == SPEC_MAP ? "{" : "[");
    for (size_t i = 0; i < v->n; i++) {
        spec_words_put(w, i ? ", " : "");
        if (v->type == SPEC_MAP) {
            spec_words_node(w, v->keys[i], depth + 1);
            spec_words_put(w, ": ");
        }
        spec_words_node(w, v->values[i], depth + 1);
    }
    spec_words_put(w, v->type == SPEC_MAP ? "}" : "]");
}

const struct spec_node *spec_words_text_at(const struct spec_node *map, const char *key)
{
    const struct spec_node *v = spec_value(map, key);
    return v && v->type == SPEC_SCALAR ? v : NULL;
}

/* Of docker-compose: "/a:/b:ro", or {source: /a, target: /b, read_only: true}. A name is a volume,
 * which berth does not have. */
static void put_bind(struct spec_words *w, const struct spec_node *v)
{
    const struct spec_node *from = spec_words_text_at(v, "source"),
                           *to = spec_words_text_at(v, "target");
    if (v->type == SPEC_MAP && from && to) {
        spec_words_put(w, from->text);
        spec_words_put(w, ":");
        spec_words_put(w, to->text);
    } else if (v->type == SPEC_SCALAR && *v->text != '/') {
        const char *colon = strchr(v->text, ':');
        spec_words_put(w, "/PATH");
        spec_words_put(w, colon ? colon : "");
    } else if (v->type == SPEC_SCALAR) {
        spec_words_text(w, v->text);
    } else {
        spec_words_put(w, "/HOST:/CONTAINER");
    }
}

void spec_words_binds(struct spec_words *w, const struct spec_node *v)
{
    spec_words_put(w, "[");
    if (v->type == SPEC_LIST)
        for (size_t i = 0; i < v->n; i++) {
            spec_words_put(w, i ? ", " : "");
            put_bind(w, v->values[i]);
        }
    else
        put_bind(w, v);
    spec_words_put(w, "]");
}

/* A list of NAME=text as NAME: text. */
void spec_words_pairs(struct spec_words *w, const struct spec_node *v)
{
    if (v->type == SPEC_MAP) {
        spec_words_node(w, v, 0);
        return;
    }
    spec_words_put(w, "{");
    size_t n = v->type == SPEC_LIST ? v->n : 1;
    for (size_t i = 0; i < n; i++) {
        const struct spec_node *x = v->type == SPEC_LIST ? v->values[i] : v;
        const char *text = x->type == SPEC_SCALAR ? x->text : "NAME=text",
                   *equals = strchr(text, '=');
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)(equals ? equals - text : (ptrdiff_t)strlen(text)),
                 text);
        spec_words_put(w, i ? ", " : "");
        spec_words_put(w, name);
        spec_words_put(w, ": ");
        spec_words_text(w, equals ? equals + 1 : "");
    }
    spec_words_put(w, "}");
}

void spec_words_command(struct spec_words *w, const struct spec_node *v)
{
    if (v->type == SPEC_LIST) {
        spec_words_node(w, v, 0);
        return;
    }
    const char *text = v->type == SPEC_SCALAR ? v->text : "…";
    bool shell = text[strcspn(text, "\"'$|&;<>()*?\\`~")] != 0;
    if (shell) {
        spec_words_put(w, "[sh, -c, ");
        spec_words_text(w, text);
        spec_words_put(w, "]");
        return;
    }
    spec_words_put(w, "[");
    for (const char *p = text; *p;) {
        char word[80];
        size_t n = strcspn(p, " \t");
        snprintf(word, sizeof word, "%.*s", (int)n, p);
        spec_words_put(w, p == text ? "" : ", ");
        if (*word == '-') /* no list item in brackets */
            spec_words_put(w, word);
        else
            spec_words_text(w, word);
        p += n;
        p += strspn(p, " \t");
    }
    spec_words_put(w, "]");
}
