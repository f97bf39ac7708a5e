/* What containers use, as a table and as JSON. Rates are differences of two readings; a figure that
 * the kernel does not give is a dash, and null in JSON. */
#include "cmd/render/json.h"
#include "cmd/render/render.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 9, TEXT = 24 };

void cmd_render_bytes(uint64_t n, char out[TEXT])
{
    static const char units[] = "KMGTPE";
    if (n < 1024) {
        snprintf(out, TEXT, "%lluB", (unsigned long long)n);
        return;
    }
    int u = 0;
    double v = (double)n / 1024;
    for (; v >= 1023.95 && u < 5; u++)
        v /= 1024;
    snprintf(out, TEXT, v < 99.95 ? "%.1f%c" : "%.0f%c", v, units[u]);
}

/* The same life of the same container in the reading before; NULL: there is none to compare
 * with. */
static const struct rec_usage *before(const struct cmd_render_top *t, const struct rec_usage *u)
{
    size_t low = 0, high = t->before ? t->before->n : 0;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct rec_usage *b = &t->before->list[mid];
        int c = strcmp(u->name, b->name);
        if (!c)
            return b->started_ms == u->started_ms && b->index == u->index ? b : NULL;
        if (c < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

/* Per second; a counter that began anew has no rate. -1: not known. */
static double rate(const struct cmd_render_top *t, uint64_t from, uint64_t to)
{
    uint64_t us = t->now->at_us - t->before->at_us;
    return us && to >= from ? (double)(to - from) * 1e6 / (double)us : -1;
}

struct rates {
    double cpu, rx, tx; /* percent of one processor, bytes a second; -1: not known */
};

static struct rates rates_of(const struct cmd_render_top *t, const struct rec_usage *u)
{
    const struct rec_usage *b = before(t, u);
    struct rates r = {-1, -1, -1};
    if (b && u->cgroup.has_cpu && b->cgroup.has_cpu) {
        double us = rate(t, b->cgroup.cpu_us, u->cgroup.cpu_us);
        r.cpu = us < 0 ? -1 : us / 10000;
    }
    if (b && u->link) {
        r.rx = rate(t, b->rx_bytes, u->rx_bytes);
        r.tx = rate(t, b->tx_bytes, u->tx_bytes);
    }
    return r;
}

struct line {
    const struct rec_usage *u;
    struct rates r;
    char text[COLUMNS][TEXT];
};

static int busiest_first(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    if (x->r.cpu != y->r.cpu)
        return x->r.cpu > y->r.cpu ? -1 : 1;
    return strcmp(x->u->name, y->u->name);
}

static void cells(struct line *l)
{
    const struct rec_usage *u = l->u;
    for (int i = 2; i < COLUMNS; i++)
        strcpy(l->text[i], "-");
    if (l->r.cpu >= 0)
        snprintf(l->text[2], TEXT, "%.1f%%", l->r.cpu);
    if (u->cgroup.has_memory)
        cmd_render_bytes(u->cgroup.memory, l->text[3]);
    if (u->cgroup.has_tasks)
        snprintf(l->text[4], TEXT, "%llu", (unsigned long long)u->cgroup.tasks);
    if (l->r.rx >= 0)
        cmd_render_bytes((uint64_t)l->r.rx, l->text[5]);
    if (l->r.tx >= 0)
        cmd_render_bytes((uint64_t)l->r.tx, l->text[6]);
    if (u->link) {
        cmd_render_bytes(u->rx_bytes, l->text[7]);
        cmd_render_bytes(u->tx_bytes, l->text[8]);
    }
}

static void row(struct cmd_out *o, const char *name, const char *runtime, const char (*text)[TEXT],
                const size_t width[COLUMNS], bool live)
{
    for (int i = 0; i < COLUMNS; i++) {
        size_t n = i == 0 ? cmd_safe_width(o, name) : strlen(i == 1 ? runtime : text[i]);
        if (i >= 2)
            cmd_pad(o, width[i] - n + 2);
        if (i == 0)
            cmd_safe(o, name);
        else
            cmd_put(o, i == 1 ? runtime : text[i]);
        if (i == 0)
            cmd_pad(o, width[i] - n + 2);
        else if (i == 1)
            cmd_pad(o, width[i] - n);
    }
    cmd_put(o, live ? "\033[K\r\n" : "\n");
}

void cmd_render_top_text(struct cmd_out *o, const struct cmd_render_top *t)
{
    static const char head[COLUMNS][TEXT] = {"NAME", "RUNTIME", "CPU", "MEMORY", "TASKS",
                                             "RX/s", "TX/s",    "RX",  "TX"};
    struct line *lines = calloc(t->now->n + 1, sizeof *lines);
    size_t width[COLUMNS], shown = t->now->n;
    if (!lines) {
        cmd_put(o, "berth: out of memory\n");
        return;
    }
    for (int i = 0; i < COLUMNS; i++)
        width[i] = strlen(head[i]) > 6 || i < 2 ? strlen(head[i]) : 6;
    for (size_t k = 0; k < t->now->n; k++) {
        lines[k].u = &t->now->list[k];
        lines[k].r = rates_of(t, lines[k].u);
        cells(&lines[k]);
        for (int i = 0; i < COLUMNS; i++) {
            size_t n = i == 0   ? cmd_safe_width(o, lines[k].u->name)
                       : i == 1 ? strlen(cmd_runtime_name(lines[k].u->runtime))
                                : strlen(lines[k].text[i]);
            width[i] = n > width[i] ? n : width[i];
        }
    }
    if (t->live)
        qsort(lines, t->now->n, sizeof *lines, busiest_first);
    if (t->live && t->rows && shown + 1 > t->rows)
        shown = t->rows > 2 ? t->rows - 2 : 0;
    cmd_style(o, CMD_BOLD);
    row(o, head[0], head[1], head, width, t->live);
    cmd_style(o, CMD_PLAIN);
    for (size_t k = 0; k < shown; k++)
        row(o, lines[k].u->name, cmd_runtime_name(lines[k].u->runtime),
            (const char(*)[TEXT])lines[k].text, width, t->live);
    if (shown < t->now->n)
        cmd_printf(o, "and %zu more\033[K\r", t->now->n - shown);
    free(lines);
}

static json_t *count(bool known, uint64_t n)
{
    return known ? json_integer((json_int_t)n) : json_null();
}

static json_t *per_second(double v)
{
    return v >= 0 ? json_integer((json_int_t)v) : json_null();
}

void cmd_render_top_json(struct cmd_out *o, const struct cmd_render_top *t)
{
    json_t *j = cmd_json_envelope("berth.top", NULL, NULL, "measured"), *list = json_array();
    for (size_t i = 0; i < t->now->n; i++) {
        const struct rec_usage *u = &t->now->list[i];
        const struct rec_cgroup_usage *g = &u->cgroup;
        struct rates r = rates_of(t, u);
        json_t *one = json_object(), *net = u->link ? json_object() : json_null();
        json_object_set_new(one, "name", cmd_json_text(u->name));
        json_object_set_new(one, "runtime", cmd_json_text(cmd_runtime_name(u->runtime)));
        json_object_set_new(one, "cpu_usec", count(g->has_cpu, g->cpu_us));
        json_object_set_new(one, "cpu_percent",
                            r.cpu >= 0 ? json_real((double)(long long)(r.cpu * 100) / 100)
                                       : json_null());
        json_object_set_new(one, "memory_bytes", count(g->has_memory, g->memory));
        json_object_set_new(one, "memory_max_bytes", count(g->memory_max != 0, g->memory_max));
        json_object_set_new(one, "memory_from",
                            g->has_memory ? json_string(g->summed ? "processes" : "cgroup")
                                          : json_null());
        json_object_set_new(one, "tasks", count(g->has_tasks, g->tasks));
        if (u->link) {
            json_object_set_new(net, "link", cmd_json_text(u->link));
            json_object_set_new(net, "rx_bytes", count(true, u->rx_bytes));
            json_object_set_new(net, "tx_bytes", count(true, u->tx_bytes));
            json_object_set_new(net, "rx_packets", count(true, u->rx_packets));
            json_object_set_new(net, "tx_packets", count(true, u->tx_packets));
            json_object_set_new(net, "rx_bytes_per_second", per_second(r.rx));
            json_object_set_new(net, "tx_bytes_per_second", per_second(r.tx));
        }
        json_object_set_new(one, "network", net);
        json_array_append_new(list, one);
    }
    json_object_set_new(j, "containers", list);
    json_object_set_new(j, "interval_usec",
                        t->before ? json_integer((json_int_t)(t->now->at_us - t->before->at_us))
                                  : json_null());
    cmd_json_emit(o, j);
}
