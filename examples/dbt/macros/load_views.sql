{# Makes the views that the last run of harvester left in its output. #}
{% macro load_views() %}
  {% if execute %}
    {% set file = env_var('WECHAT_OUTPUT', 'output') ~ '/_harvester/sql/duckdb.sql' %}
    {% set script = run_query("select content from read_text('" ~ file ~ "')") %}
    {% do run_query(script.columns[0].values()[0]) %}
  {% endif %}
{% endmacro %}
